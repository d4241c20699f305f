"""LangGraph's own tables; its set-up creates indexes concurrently, so it runs outside a transaction."""

from django.db import migrations


def create_checkpoint_tables(apps, schema_editor):
    from agents import checkpoints

    checkpoints.create_tables(checkpoints.address(schema_editor.connection))


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("agents", "0001_initial")]

    operations = [migrations.RunPython(create_checkpoint_tables, migrations.RunPython.noop)]
