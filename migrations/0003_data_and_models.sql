-- Data sets, the current state of CRM records, training runs and models, predictions.

CREATE TABLE datasets (
    tenant_id       text NOT NULL REFERENCES tenants ON DELETE CASCADE,
    dataset_id      text PRIMARY KEY,
    operation_id    text NOT NULL,
    object          text NOT NULL,
    state           text NOT NULL CHECK (state IN ('staging', 'committed')),
    schema          jsonb,
    schema_hash     text,
    content_address text,
    row_count       bigint NOT NULL DEFAULT 0,
    byte_count      bigint NOT NULL DEFAULT 0,
    manifest_key    text,
    consent_version bigint NOT NULL,
    -- set when the current state in PostgreSQL has been brought up to this data set
    applied_at      timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    committed_at    timestamptz
);
CREATE INDEX datasets_by_tenant ON datasets (tenant_id, created_at DESC, dataset_id DESC);
CALL isolate_tenants('datasets');

-- The committed cursor of an export: one row for each part that lies in the lake.
CREATE TABLE export_parts (
    tenant_id    text NOT NULL REFERENCES tenants ON DELETE CASCADE,
    operation_id text NOT NULL,
    epoch        bigint NOT NULL,
    part         integer NOT NULL,
    -- the locator that this part was read from; null for the first page
    locator      text,
    -- the locator to go on from; null after the last page
    next_locator text,
    key          text NOT NULL,
    rows         bigint NOT NULL,
    bytes        bigint NOT NULL,
    sha256       text NOT NULL,
    rows_digest  text NOT NULL,
    committed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (operation_id, epoch, part)
);
CALL isolate_tenants('export_parts');

-- Current state: the latest version of each record. `fields` holds canonical JSON values by API name.
CREATE TABLE records (
    tenant_id   text NOT NULL REFERENCES tenants ON DELETE CASCADE,
    object      text NOT NULL,
    record_id   text NOT NULL,
    fields      jsonb NOT NULL,
    modified_at timestamptz NOT NULL,
    -- orders versions of the same instant; Bulk exports write 0, change events their commit number and sequence
    commit_number bigint NOT NULL DEFAULT 0,
    commit_sequence integer NOT NULL DEFAULT 0,
    is_deleted  boolean NOT NULL DEFAULT false,
    -- deleted because an export of this moment did not have it; null when the org itself told of the deletion
    absent_since timestamptz,
    -- of the latest export that has written it
    exported_at timestamptz,
    dataset_id  text,
    PRIMARY KEY (tenant_id, object, record_id)
);
CALL isolate_tenants('records');

-- The fields of each object as its exports described them.
CREATE TABLE object_schemas (
    tenant_id   text NOT NULL REFERENCES tenants ON DELETE CASCADE,
    object      text NOT NULL,
    schema      jsonb NOT NULL,
    schema_hash text NOT NULL,
    dataset_id  text NOT NULL,
    -- when the org was read by the latest export, and by the latest one of every field
    exported_at timestamptz NOT NULL,
    whole_at    timestamptz,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, object)
);
CALL isolate_tenants('object_schemas');

CREATE TABLE models (
    tenant_id       text NOT NULL REFERENCES tenants ON DELETE CASCADE,
    model_id        text PRIMARY KEY,
    operation_id    text NOT NULL UNIQUE,
    definition_name text NOT NULL,
    object          text NOT NULL,
    definition      jsonb NOT NULL,
    training        jsonb NOT NULL,
    state           text NOT NULL DEFAULT 'draft'
                    CHECK (state IN ('draft', 'training', 'trained', 'validated', 'staged', 'production', 'archived', 'rejected')),
    dataset_id      text,
    consent_version bigint NOT NULL,
    schema_hash     text,
    artifact_key    text,
    artifact_digest text,
    card            jsonb,
    gates           jsonb,
    -- the model in production that the gates compared it with
    compared_with   text,
    code            text,
    message         text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    trained_at      timestamptz,
    promoted_at     timestamptz,
    CHECK (state NOT IN ('staged', 'production', 'archived')
           OR (artifact_key IS NOT NULL AND artifact_digest IS NOT NULL AND schema_hash IS NOT NULL))
);
CREATE INDEX models_by_tenant ON models (tenant_id, created_at DESC, model_id DESC);
CREATE UNIQUE INDEX one_model_in_production ON models (tenant_id, definition_name) WHERE state = 'production';
CALL isolate_tenants('models');

-- The same transitions as leadline_domain::ModelState::may_become; a test compares the two.
CREATE FUNCTION refuse_forbidden_model_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
        ('draft', 'training'), ('training', 'trained'), ('trained', 'validated'), ('validated', 'staged'),
        ('staged', 'production'), ('archived', 'production'), ('staged', 'archived'), ('production', 'archived'),
        ('draft', 'rejected'), ('training', 'rejected'), ('trained', 'rejected'), ('validated', 'rejected')
    ) THEN
        RAISE EXCEPTION 'a model cannot go from % to %', OLD.state, NEW.state USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER model_transitions BEFORE UPDATE OF state ON models
    FOR EACH ROW EXECUTE FUNCTION refuse_forbidden_model_transition();

-- Asynchronous predictions. Score and reasons are null when the tenant does not allow them to be kept.
CREATE TABLE predictions (
    tenant_id       text NOT NULL REFERENCES tenants ON DELETE CASCADE,
    request_id      text NOT NULL,
    operation_id    text NOT NULL UNIQUE,
    definition_name text NOT NULL,
    object          text NOT NULL,
    record_id       text,
    body_hash       bytea NOT NULL,
    state           text NOT NULL CHECK (state IN ('accepted', 'scored', 'written_back', 'pending_callback', 'completed', 'failed')),
    model_id        text,
    score           jsonb,
    code            text,
    message         text,
    callback_attempts   integer NOT NULL DEFAULT 0,
    callback_last_error text,
    callback_next_at    timestamptz,
    callback_delivered_at timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    completed_at    timestamptz,
    PRIMARY KEY (tenant_id, request_id)
);
CALL isolate_tenants('predictions');

-- Drills: what operators practise on. A drill's row is all that its saga touches.
CREATE TABLE drills (
    tenant_id    text NOT NULL REFERENCES tenants ON DELETE CASCADE,
    operation_id text PRIMARY KEY,
    -- the run that has asked for an operator, and the place of its activity in the order of scheduling
    asked_in     text,
    asked_at     bigint,
    completed    boolean NOT NULL DEFAULT false,
    debriefed    boolean NOT NULL DEFAULT false
);
CALL isolate_tenants('drills');
