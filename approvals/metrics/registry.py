"""Where every package registers what `/metrics` reads from tables."""

from prometheus_client import CollectorRegistry

# What is computed from tables, whichever process is asked. A package registers its collectors
# once, in its AppConfig.ready: `TABLES.register(RunCollector())`. `collect` is called anew for
# every scrape, must be quick however long the tables are, and yields a sample of 0 for every label
# set that is known beforehand. Each metric has its row in the table of the README, which a test
# compares with the page.
TABLES = CollectorRegistry()
