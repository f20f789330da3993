//! How a saga names a step: activity, input, lane, and the undo beside it.

use std::{future::IntoFuture, rc::Rc};

use futures::future::{FutureExt, LocalBoxFuture};
use temporalio_common::ActivityDefinition;

use crate::{call::Named, envelope::StepInput, lane::Lane, saga::Saga, stop::Stop};

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
pub(crate) struct Undo<W>(Rc<RunUndo<W>>);

type RunUndo<W> = dyn for<'s> Fn(&'s mut Saga<W>) -> LocalBoxFuture<'s, ()>;

impl<W: 'static> Undo<W> {
    pub(crate) fn new<U, Q>(activity: &U, step: &str, params: Q) -> Self
    where
        U: ActivityDefinition<Input = StepInput<Q>, Output = ()> + 'static,
        Q: Clone + 'static,
    {
        let (undo, step) = (Named::of(activity), step.to_owned());
        Self(Rc::new(move |saga| {
            let (undo, step, params) = (undo.clone(), step.clone(), params.clone());
            async move { saga.insist(&undo, &step, params, Lane::Light).await }.boxed_local()
        }))
    }
}

impl<W> Undo<W> {
    pub(crate) async fn run(&self, saga: &mut Saga<W>) {
        (self.0)(saga).await;
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
        Q: Clone + 'static,
        W: 'static,
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
    W: 'static,
    A: ActivityDefinition<Input = StepInput<P>> + 'static,
    P: Clone + 'static,
{
    type Output = Result<A::Output, Stop>;
    type IntoFuture = LocalBoxFuture<'s, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { step: Step { saga, activity, params, lane }, undo } = self;
        async move {
            if let Some(undo) = undo {
                saga.register(undo);
            }
            saga.attempt(&activity, params, lane).await
        }
        .boxed_local()
    }
}
