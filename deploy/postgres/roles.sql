-- Run once by the postgres image, as its superuser, on an empty volume: the owner, who migrates,
-- the application's role, which `migrate` grants what it needs, and their database.
\getenv owner_password GATEWAY_OWNER_PASSWORD
\getenv app_password GATEWAY_APP_PASSWORD

-- The owner makes the dashboard's role, too.
CREATE ROLE gateway_owner LOGIN CREATEROLE PASSWORD :'owner_password';
CREATE ROLE gateway_app LOGIN PASSWORD :'app_password';
CREATE DATABASE gateway OWNER gateway_owner;
REVOKE ALL ON DATABASE gateway FROM PUBLIC;
GRANT CONNECT ON DATABASE gateway TO gateway_app;

-- With these a role, such as the dashboard's, could hold the gateway's locks or write without a
-- right on any table. Only the superuser can take them from everybody.
\connect gateway
SELECT format('GRANT EXECUTE ON FUNCTION %s TO gateway_owner, gateway_app', oid::regprocedure),
       format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', oid::regprocedure)
FROM pg_proc
WHERE pronamespace = 'pg_catalog'::regnamespace
  AND proname ~ '^(pg_(try_)?advisory_|lo_|lowrite$)'
\gexec
