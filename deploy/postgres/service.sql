-- The schema and the two roles of one service. Run as a superuser, connected to the database; may be run again.
--
-- psql variable: service (signals, workflow, activity, auth).
-- Passwords come from the environment, where `ps` does not show them: COMPASS_OWNER_PASSWORD, COMPASS_RUNTIME_PASSWORD.
\set ON_ERROR_STOP on
\getenv owner_password COMPASS_OWNER_PASSWORD
\getenv runtime_password COMPASS_RUNTIME_PASSWORD
\set owner compass_ :service _owner
\set runtime compass_ :service

SELECT format('CREATE ROLE %I', name)
FROM unnest(ARRAY[:'owner', :'runtime']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

-- The owner runs the migrations; the runtime role owns nothing, so that what a migration revokes (changing the audit
-- log, say) stays out of the reach of the running service.
ALTER ROLE :"owner" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'owner_password';
ALTER ROLE :"runtime" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'runtime_password';

-- TEMPORARY: a batch is copied into a temporary table before it is merged.
SELECT format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I, %I', current_database(), :'owner', :'runtime') \gexec

CREATE SCHEMA IF NOT EXISTS :"service" AUTHORIZATION :"owner";
ALTER SCHEMA :"service" OWNER TO :"owner";
REVOKE ALL ON SCHEMA :"service" FROM PUBLIC;
GRANT USAGE ON SCHEMA :"service" TO :"runtime";

-- Default privileges act on what migrations create later. Nothing is granted on existing tables: running this again
-- must not give back what a migration has revoked.
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA :"service"
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"runtime";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA :"service" GRANT USAGE, SELECT ON SEQUENCES TO :"runtime";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA :"service" GRANT EXECUTE ON FUNCTIONS TO :"runtime";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

ALTER ROLE :"owner" SET search_path = :"service";
ALTER ROLE :"runtime" SET search_path = :"service";
