//! Training runs. A run is named by the model that it makes.

use leadline_domain::{Code, DatasetId, Failure, OperationId, OperationKind, operation::TrainModel};
use leadline_learning::{Budget, PredictionDefinition as Definition, TrainingOptions, definition::FieldEquals};
use leadline_proto::v1::{
    self, DefinitionPreset, GetTrainingRunRequest, ListTrainingRunsRequest, ListTrainingRunsResponse, PredictionDefinition,
    StartTrainingRunRequest, TrainingRun, training_runs_server::TrainingRuns,
};
use leadline_store::{
    consents,
    datasets::{self, DatasetState},
    models::{self, Model, ModelFilter, NewModel},
    operations::{IdempotencyScope, Operation},
    tenants,
};
use tonic::{Request, Response, Status};

use super::{Facade, answer, api_name, invalid, models::model_id, short_text, started};
use crate::{
    acceptance::{Start, accept},
    caller::Call,
    shapes,
};

/// Entries that one list of a definition may have.
const MAX_LIST: usize = 500;

#[tonic::async_trait]
impl TrainingRuns for Facade {
    async fn start_training_run(&self, request: Request<StartTrainingRunRequest>) -> Result<Response<v1::Operation>, Status> {
        started(self.accept_training(request.into_inner()).await)
    }

    async fn get_training_run(&self, request: Request<GetTrainingRunRequest>) -> Result<Response<TrainingRun>, Status> {
        answer(self.read_run(request.into_inner()).await)
    }

    async fn list_training_runs(
        &self,
        request: Request<ListTrainingRunsRequest>,
    ) -> Result<Response<ListTrainingRunsResponse>, Status> {
        answer(self.page_of_runs(request.into_inner()).await)
    }
}

impl Facade {
    async fn accept_training(&self, request: StartTrainingRunRequest) -> Result<Operation, Failure> {
        let call = Call::current()?;
        let tenant = call.caller.tenant(&request.tenant_id)?;
        let definition = definition_of(&request)?;
        let options = options_of(&request)?;
        let dataset = dataset_id(&request.dataset_id)?;
        let id = OperationId::random();
        let mut tx = self.store.tenant(&tenant).await?;
        let consent_version = consents::current_locked(&mut tx).await?.map(|consent| consent.version);
        let params = TrainModel {
            model: id.model(),
            object: definition.object.clone(),
            dataset: dataset.clone(),
            fields: Vec::new(),
            consent_version: consent_version.unwrap_or_default(),
        };
        let start = Start {
            id: id.clone(),
            kind: OperationKind::TrainModel,
            rpc: "StartTrainingRun",
            scope: IdempotencyScope::Tenant,
            request: &request,
            params: &params,
            consent_version,
        };
        let accepted = accept(&mut tx, &call, start).await?;
        if !accepted.replayed {
            tenants::active(&mut tx, &tenant).await?;
            let consent = consents::require(&mut tx, "allowTraining", |grant| grant.allow_training).await?;
            match &dataset {
                Some(dataset) => check_dataset(&datasets::get(&mut tx, dataset).await?, &definition)?,
                // It exports first, and says so now rather than minutes later.
                None => drop(consents::require(&mut tx, "allowExport", |grant| grant.allow_export).await?),
            }
            let new = NewModel {
                id: id.model(),
                operation: id,
                definition_name: definition.name.clone(),
                object: definition.object.clone(),
                definition: serde_json::to_value(&definition).expect("a definition is plain data"),
                training: serde_json::to_value(options).expect("options are plain data"),
                dataset,
                consent_version: consent.version,
            };
            models::create_draft(&mut tx, &new).await?;
        }
        tx.commit().await?;
        self.starter.launch(&accepted.operation);
        Ok(accepted.operation)
    }

    async fn read_run(&self, request: GetTrainingRunRequest) -> Result<TrainingRun, Failure> {
        let tenant = Call::current()?.caller.tenant(&request.tenant_id)?;
        let missing = |failure: Failure| match failure.code {
            Code::ModelNotFound => Failure::new(Code::TrainingRunNotFound, "no such training run"),
            _ => failure,
        };
        let id = model_id(&request.model_id).map_err(missing)?;
        let mut tx = self.store.tenant_read(&tenant).await?;
        let model = models::get(&mut tx, &id).await.map_err(|error| missing(error.into()))?;
        Ok(run(model))
    }

    async fn page_of_runs(&self, request: ListTrainingRunsRequest) -> Result<ListTrainingRunsResponse, Failure> {
        let tenant = Call::current()?.caller.tenant(&request.tenant_id)?;
        let page = shapes::page(request.page_size, request.page_token)?;
        let mut tx = self.store.tenant_read(&tenant).await?;
        tenants::get(&mut tx, &tenant).await?;
        let page = models::list(&mut tx, &ModelFilter::default(), &page).await?.map(run);
        Ok(ListTrainingRunsResponse { training_runs: page.items, next_page_token: page.next_token })
    }
}

fn dataset_id(text: &str) -> Result<Option<DatasetId>, Failure> {
    match text {
        "" => Ok(None),
        id => id.parse().map(Some).map_err(|_| Failure::new(Code::DatasetNotFound, "no such data set")),
    }
}

fn check_dataset(dataset: &datasets::Dataset, definition: &Definition) -> Result<(), Failure> {
    if dataset.state != DatasetState::Committed {
        return Err(Failure::new(Code::DatasetNotFound, format!("data set {} is not complete yet", dataset.id)));
    }
    if dataset.object != definition.object {
        let message =
            format!("data set {} holds {}, and the definition is about {}", dataset.id, dataset.object, definition.object);
        return Err(invalid(message));
    }
    let Some(schema) = &dataset.schema else { return Ok(()) };
    definition.check(schema).map_err(|error| Failure::new(error.code(), error.to_string()))
}

fn options_of(request: &StartTrainingRunRequest) -> Result<TrainingOptions, Failure> {
    let defaults = TrainingOptions::default();
    let seed = match request.seed {
        None => defaults.seed,
        Some(seed) => u64::try_from(seed).map_err(|_| invalid("seed is negative"))?,
    };
    let budget = match request.max_tree_rows {
        0 => defaults.budget,
        rows => Budget { tree_rows: u64::try_from(rows).map_err(|_| invalid("maxTreeRows is negative"))? },
    };
    Ok(TrainingOptions { seed, budget, ..defaults })
}

/// A definition of the caller's own, a preset, or a preset with the caller's lists added to its own.
fn definition_of(request: &StartTrainingRunRequest) -> Result<Definition, Failure> {
    let preset = DefinitionPreset::try_from(request.preset).map_err(|_| invalid("preset has no such value"))?;
    let preset = match preset {
        DefinitionPreset::Unspecified => None,
        DefinitionPreset::LeadConversion => Some(Definition::lead_conversion()),
        DefinitionPreset::OpportunityWin => Some(Definition::opportunity_win()),
        DefinitionPreset::AccountChurn => Some(Definition::account_churn()),
    };
    match (preset, request.definition.as_ref()) {
        (None, None) => Err(invalid("a training run needs a definition or a preset")),
        (Some(preset), None) => Ok(preset),
        (preset, Some(own)) => merged(preset, own),
    }
}

fn merged(preset: Option<Definition>, own: &PredictionDefinition) -> Result<Definition, Failure> {
    let mut definition = preset.unwrap_or_else(|| Definition::new("", "", "", &[]));
    replace(&mut definition.name, &own.name);
    replace(&mut definition.object, &own.object);
    replace(&mut definition.label_field, &own.label_field);
    for (into, list) in
        [(&mut definition.positive_values, &own.positive_values), (&mut definition.negative_values, &own.negative_values)]
    {
        if !list.is_empty() {
            into.clone_from(list);
        }
    }
    for (into, list) in [
        (&mut definition.excluded_fields, &own.exclude_fields),
        (&mut definition.kept_fields, &own.keep_fields),
        (&mut definition.critical_fields, &own.critical_fields),
        (&mut definition.segment_fields, &own.segment_fields),
        (&mut definition.outcome_fields, &own.outcome_fields),
    ] {
        add(into, list);
    }
    if !own.time_field.is_empty() {
        definition.time_field = Some(own.time_field.clone());
    }
    if let Some(condition) = &own.known_outcome {
        definition.known_outcome = Some(FieldEquals { field: condition.field.clone(), value: condition.value.clone() });
    }
    check_definition(&definition)?;
    Ok(definition)
}

fn replace(into: &mut String, own: &str) {
    if !own.is_empty() {
        own.clone_into(into);
    }
}

fn add(into: &mut Vec<String>, own: &[String]) {
    for name in own {
        if !into.contains(name) {
            into.push(name.clone());
        }
    }
}

fn check_definition(definition: &Definition) -> Result<(), Failure> {
    let named = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if !(1..=63).contains(&definition.name.len()) || !definition.name.bytes().all(named) {
        return Err(invalid("definition.name has 1 to 63 lower-case letters, digits and _"));
    }
    api_name(&definition.object, "definition.object")?;
    api_name(&definition.label_field, "definition.labelField")?;
    if definition.positive_values.is_empty() {
        return Err(invalid("definition.positiveValues is empty: which outcome is to be predicted?"));
    }
    for values in [&definition.positive_values, &definition.negative_values] {
        check_length(values)?;
        values.iter().try_for_each(|value| short_text(value, 255, "a label value"))?;
    }
    if definition.positive_values.iter().any(|value| definition.negative_values.contains(value)) {
        return Err(invalid("a label value is positive and negative at once"));
    }
    let lists = [
        &definition.excluded_fields,
        &definition.kept_fields,
        &definition.critical_fields,
        &definition.segment_fields,
        &definition.outcome_fields,
    ];
    for list in lists {
        check_length(list)?;
        list.iter().try_for_each(|field| api_name(field, "a field of the definition"))?;
    }
    if let Some(both) = definition.excluded_fields.iter().find(|field| definition.keeps(field)) {
        return Err(invalid(format!("field {both} is excluded and kept at once")));
    }
    definition.time_field.iter().try_for_each(|field| api_name(field, "definition.timeField"))?;
    if let Some(condition) = &definition.known_outcome {
        api_name(&condition.field, "definition.knownOutcome.field")?;
        short_text(&condition.value, 255, "definition.knownOutcome.value")?;
    }
    Ok(())
}

fn check_length(list: &[String]) -> Result<(), Failure> {
    if list.len() <= MAX_LIST {
        Ok(())
    } else {
        Err(invalid(format!("a list of the definition has more than {MAX_LIST} entries")))
    }
}

fn run(row: Model) -> TrainingRun {
    let definition: Option<Definition> = serde_json::from_value(row.definition).ok();
    TrainingRun {
        model_id: row.id.to_string(),
        operation_id: row.operation.to_string(),
        definition: definition.map(message),
        state: shapes::model_state(row.state).into(),
        dataset_id: row.dataset.map(|id| id.to_string()).unwrap_or_default(),
        consent_version: row.consent_version,
        error: shapes::error(row.code, row.message),
        create_time: Some(row.created_at.into()),
    }
}

fn message(definition: Definition) -> PredictionDefinition {
    PredictionDefinition {
        name: definition.name,
        object: definition.object,
        label_field: definition.label_field,
        positive_values: definition.positive_values,
        negative_values: definition.negative_values,
        time_field: definition.time_field.unwrap_or_default(),
        exclude_fields: definition.excluded_fields,
        keep_fields: definition.kept_fields,
        critical_fields: definition.critical_fields,
        segment_fields: definition.segment_fields,
        known_outcome: definition.known_outcome.map(|c| v1::FieldEquals { field: c.field, value: c.value }),
        outcome_fields: definition.outcome_fields,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(preset: DefinitionPreset, own: Option<PredictionDefinition>) -> StartTrainingRunRequest {
        StartTrainingRunRequest { preset: preset.into(), definition: own, ..Default::default() }
    }

    #[test]
    fn every_seed_counts_and_an_absent_one_is_the_default() {
        let seed = |seed| options_of(&StartTrainingRunRequest { seed, ..Default::default() }).map(|options| options.seed);
        assert_eq!((seed(Some(0)), seed(Some(7)), seed(None)), (Ok(0), Ok(7), Ok(42)));
        assert_eq!(seed(Some(-1)).unwrap_err().code, Code::InvalidArgument);
    }

    #[test]
    fn a_preset_keeps_its_own_and_takes_the_callers_lists_besides() {
        let own = PredictionDefinition { exclude_fields: vec!["Secret__c".into()], ..Default::default() };
        let definition = definition_of(&request(DefinitionPreset::LeadConversion, Some(own))).unwrap();
        let preset = Definition::lead_conversion();
        assert_eq!((&definition.name, &definition.label_field), (&preset.name, &preset.label_field));
        assert_eq!(definition.excluded_fields, ["Secret__c"]);
        assert_eq!(definition.outcome_fields, preset.outcome_fields);
    }

    #[test]
    fn a_definition_that_cannot_mean_anything_is_refused() {
        let complete = PredictionDefinition {
            name: "bank".into(),
            object: "Lead".into(),
            label_field: "y".into(),
            positive_values: vec!["yes".into()],
            ..Default::default()
        };
        assert!(definition_of(&request(DefinitionPreset::Unspecified, Some(complete.clone()))).is_ok());
        let wrong = [
            PredictionDefinition { name: "Bank!".into(), ..complete.clone() },
            PredictionDefinition { object: String::new(), ..complete.clone() },
            PredictionDefinition { positive_values: vec![], ..complete.clone() },
            PredictionDefinition { negative_values: vec!["yes".into()], ..complete.clone() },
            PredictionDefinition { exclude_fields: vec!["a".into()], keep_fields: vec!["a".into()], ..complete.clone() },
            PredictionDefinition { time_field: "a b".into(), ..complete },
        ];
        for own in wrong {
            let failure = definition_of(&request(DefinitionPreset::Unspecified, Some(own))).unwrap_err();
            assert_eq!(failure.code, Code::InvalidArgument, "{failure}");
        }
        assert_eq!(definition_of(&request(DefinitionPreset::Unspecified, None)).unwrap_err().code, Code::InvalidArgument);
    }
}
