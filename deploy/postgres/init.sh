#!/usr/bin/env bash
# Creates the schemas and roles of all services; for /docker-entrypoint-initdb.d, and for any server that psql reaches.
#
# Needs COMPASS_<SERVICE>_OWNER_PASSWORD and COMPASS_<SERVICE>_PASSWORD for each service, and what psql takes
# (PGHOST, PGUSER, PGPASSWORD). POSTGRES_DB names the database, `compass` unless set. May be run again.
set -euo pipefail

folder=${COMPASS_POSTGRES_SQL:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)}
export PGDATABASE=${POSTGRES_DB:-compass} PGUSER=${PGUSER:-${POSTGRES_USER:-postgres}}

psql --no-psqlrc --quiet --file "$folder/database.sql"
for service in signals workflow activity auth; do
  owner=COMPASS_${service^^}_OWNER_PASSWORD runtime=COMPASS_${service^^}_PASSWORD
  COMPASS_OWNER_PASSWORD=${!owner:?is not set} COMPASS_RUNTIME_PASSWORD=${!runtime:?is not set} \
    psql --no-psqlrc --quiet --set "service=$service" --file "$folder/service.sql"
done
