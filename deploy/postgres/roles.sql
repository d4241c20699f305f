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
