//! How a saga names a step: activity, input, lane, and the undo beside it.

use std::{future::IntoFuture, rc::Rc};

use futures::future::{FutureExt, LocalBoxFuture};
use leadline_domain::parking::{Corrected, Stage};
use temporalio_common::ActivityDefinition;

use crate::{
    call::{Named, Role},
    envelope::StepInput,
    lane::Lane,
    parking::SagaWorkflow,
    saga::Saga,
    stop::Stop,
};

/// A step that is not ready to run: its undo has not been named.
#[must_use = "a step runs when it is awaited, and it can be awaited once its undo is named"]
pub struct Step<'s, W, A, P> {
    saga: &'s mut Saga<W>,
    activity: Named<A>,
    params: P,
    lane: Lane,
}

/// A step with its undo decided; awaiting it runs it.
#[must_use = "a step runs when it is awaited"]
pub struct ReadyStep<'s, W, A, P> {
    step: Step<'s, W, A, P>,
    undo: Option<Undo<W>>,
}

/// An undo that waits on the stack.
pub(crate) struct Undo<W> {
    step: String,
    run: Rc<RunUndo<W>>,
}

/// Answers whether it was done; if not, a person said to leave it.
type RunUndo<W> = dyn for<'s> Fn(&'s mut Saga<W>) -> LocalBoxFuture<'s, bool>;

impl<W: SagaWorkflow> Undo<W> {
    pub(crate) fn new<U, Q>(activity: &U, step: &str, params: Q) -> Self
    where
        U: ActivityDefinition<Input = StepInput<Q>, Output = ()> + 'static,
        Q: Clone + Corrected + 'static,
    {
        let (undo, step) = (Named::of(activity), step.to_owned());
        let named = step.clone();
        let run: Rc<RunUndo<W>> = Rc::new(move |saga| {
            let (undo, step, params) = (undo.clone(), step.clone(), params.clone());
            let undone =
                async move { saga.insist(Stage::Compensation, (&undo, &step), params, Lane::Light, true).await.is_some() };
            undone.boxed_local()
        });
        Self { step: named, run }
    }
}

impl<W> Undo<W> {
    /// The step that it undoes.
    pub(crate) fn step(&self) -> &str {
        &self.step
    }

    pub(crate) async fn run(&self, saga: &mut Saga<W>) -> bool {
        (self.run)(saga).await
    }
}

impl<'s, W, A, P> Step<'s, W, A, P>
where
    A: ActivityDefinition<Input = StepInput<P>>,
{
    pub(crate) fn new(saga: &'s mut Saga<W>, activity: &A, params: P) -> Self {
        Self { saga, activity: Named::of(activity), params, lane: Lane::Light }
    }

    /// Runs the step on another lane's task queue.
    pub fn on(mut self, lane: Lane) -> Self {
        self.lane = lane;
        self
    }

    /// Names the undo. It is given the step's own name, under which the ledger keeps the facts that it needs, and it must be
    /// right even for a step that never began. It runs on the light lane: an undo does not queue behind other tenants' exports.
    pub fn undo<U, Q>(self, activity: U, params: Q) -> ReadyStep<'s, W, A, P>
    where
        U: ActivityDefinition<Input = StepInput<Q>, Output = ()> + 'static,
        Q: Clone + Corrected + 'static,
        W: SagaWorkflow,
    {
        let undo = Undo::new(&activity, self.activity.name(), params);
        ReadyStep { step: self, undo: Some(undo) }
    }

    /// Says that the step changes nothing that anyone could see.
    pub fn nothing_to_undo(self) -> ReadyStep<'s, W, A, P> {
        ReadyStep { step: self, undo: None }
    }
}

impl<'s, W, A, P> IntoFuture for ReadyStep<'s, W, A, P>
where
    W: SagaWorkflow,
    A: ActivityDefinition<Input = StepInput<P>> + 'static,
    P: Clone + Corrected + 'static,
{
    type Output = Result<A::Output, Stop>;
    type IntoFuture = LocalBoxFuture<'s, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { step: Step { saga, activity, params, lane }, undo } = self;
        async move {
            saga.told.add(activity.name());
            let role = if undo.is_some() { Role::Step } else { Role::StepWithoutUndo };
            saga.undos.extend(undo);
            saga.attempt(&activity, params, lane, role).await
        }
        .boxed_local()
    }
}
