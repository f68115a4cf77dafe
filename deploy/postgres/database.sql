-- Who may do what with the database itself. Run as its superuser, connected to it; may be run again.
\set ON_ERROR_STOP on

SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()) \gexec
REVOKE ALL ON SCHEMA public FROM PUBLIC;

-- What the services' schemas use and only a superuser or the database's owner may install: the search for text in
-- signals. In a schema of its own, so that `public` stays closed.
CREATE SCHEMA IF NOT EXISTS extensions;
GRANT USAGE ON SCHEMA extensions TO PUBLIC;
CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA extensions;
