-- Who may do what with the database itself. Run as its superuser, connected to it; may be run again.
\set ON_ERROR_STOP on

SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()) \gexec
REVOKE ALL ON SCHEMA public FROM PUBLIC;
