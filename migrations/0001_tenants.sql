-- Tenants, their consent, their secrets and the keys that reach them.
--
-- Row-level security is FORCEd everywhere: a query sees the rows of the tenant named by the transaction-local setting
-- `leadline.tenant`, and none when it is not set. `leadline_operator` sees all tenants, or the one tenant that its transaction
-- names. The roles exist before the first migration runs (`leadline migrate` makes them), since roles belong to the cluster and
-- not to the database.

-- Only the owner makes things here: a table or function of the same name in front of ours would take their place.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO leadline_tenant, leadline_operator;

-- After a transaction that set it, a connection reads the setting as an empty text.
CREATE FUNCTION current_tenant() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT nullif(current_setting('leadline.tenant', true), '') $$;

CREATE FUNCTION utc_today() RETURNS date LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT (now() AT TIME ZONE 'UTC')::date $$;

-- One policy for the tenant's own rows, one for operators; every table of tenants gets both.
CREATE PROCEDURE isolate_tenants(target regclass) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('CREATE POLICY own_tenant ON %s TO leadline_tenant USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', target);
    EXECUTE format('CREATE POLICY any_tenant ON %s TO leadline_operator USING (current_tenant() IS NULL OR tenant_id = current_tenant()) WITH CHECK (current_tenant() IS NULL OR tenant_id = current_tenant())', target);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO leadline_tenant, leadline_operator', target);
END $$;

CREATE TABLE tenants (
    tenant_id    text PRIMARY KEY,
    name         text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9-]{1,62}$'),
    display_name text NOT NULL,
    state        text NOT NULL CHECK (state IN ('onboarding', 'active')),
    -- Salesforce connection without its secrets
    login_url    text NOT NULL,
    client_id    text NOT NULL,
    username     text NOT NULL,
    audience     text NOT NULL,
    instance_url text,
    org_id       text UNIQUE,
    lake_prefix  text,
    created_by_operation text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);
CALL isolate_tenants('tenants');

CREATE TABLE consents (
    tenant_id text NOT NULL REFERENCES tenants ON DELETE CASCADE,
    version   bigint NOT NULL,
    allow_export            boolean NOT NULL,
    allow_training          boolean NOT NULL,
    allow_store_predictions boolean NOT NULL,
    allow_write_back        boolean NOT NULL,
    recorded_by text NOT NULL,
    note        text NOT NULL DEFAULT '',
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, version)
);
CALL isolate_tenants('consents');
REVOKE UPDATE, DELETE ON consents FROM leadline_tenant, leadline_operator;

-- Envelope encryption: `sealed` is the secret under a data key, `wrapped_key` the data key under the key `key_id`
-- that lies outside the database.
CREATE TABLE secrets (
    tenant_id   text NOT NULL REFERENCES tenants ON DELETE CASCADE,
    purpose     text NOT NULL CHECK (purpose IN ('salesforce_private_key', 'callback_key', 'tenant_data_key')),
    key_id      text NOT NULL,
    wrapped_key bytea NOT NULL,
    sealed      bytea NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, purpose)
);
CALL isolate_tenants('secrets');

-- `tenant_id` is null for an operator's key. Only hashes are kept.
CREATE TABLE api_keys (
    key_id      text PRIMARY KEY,
    secret_hash bytea NOT NULL,
    tenant_id   text REFERENCES tenants ON DELETE CASCADE,
    label       text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz,
    revoked_at  timestamptz
);
CALL isolate_tenants('api_keys');

-- The one look-up that comes before the tenant is known.
CREATE FUNCTION find_api_key(wanted text) RETURNS TABLE (secret_hash bytea, tenant_id text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT k.secret_hash, k.tenant_id FROM public.api_keys k
    WHERE k.key_id = wanted AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
$$;
REVOKE ALL ON FUNCTION find_api_key(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_api_key(text) TO leadline_tenant, leadline_operator;
-- FORCE binds the owner too, so the function's owner needs a policy of its own for reading keys.
CREATE POLICY key_lookup ON api_keys FOR SELECT TO CURRENT_USER USING (true);
