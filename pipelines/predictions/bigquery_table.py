"""Finds or creates the BigQuery table of predictions, and checks its layout."""

import shlex

from google.api_core.exceptions import NotFound
from google.cloud import bigquery

from pipelines.common.job import JobError
from pipelines.predictions.table_name import TableName
from tasks import schema

PARTITION, CLUSTER = 'predicted_at', ['user_id']
# The API returns the old names of types.
_TYPES = {'INTEGER': 'INT64', 'FLOAT': 'FLOAT64', 'BOOLEAN': 'BOOL'}


def table_reference(text: str) -> bigquery.TableReference:
  """Returns the table that `project:dataset.table` or `project.dataset.table` names.

  Raises:
    ValueError: the text is not the name of a table.
  """
  name = TableName.parse(text)
  return bigquery.DatasetReference(name.project, name.dataset).table(name.table)


def require_table(
  client: bigquery.Client,
  target: bigquery.TableReference,
  location: str | None,
  columns: schema.Columns = schema.PREDICTIONS,
) -> bigquery.Table:
  """Returns the table; creates a missing one.

  Args:
    client: client of BigQuery.
    target: name of the table; its dataset must exist.
    location: expected location of the dataset; None or '' for any.
    columns: columns of the table.

  Raises:
    JobError: the dataset does not exist or is in another location, or the table has
      another schema, partition or clustering than a new one.
  """
  wanted = bigquery.Table(
    target,
    schema=[
      bigquery.SchemaField.from_api_repr(column)
      for column in schema.predictions_bigquery(columns)
    ],
  )
  each = columns[0].name.removesuffix('_id')  # user or example
  wanted.description = f'Predictions of PERSOMA: one row per {each} and run'
  wanted.time_partitioning = bigquery.TimePartitioning(field=PARTITION)
  wanted.clustering_fields = CLUSTER
  try:
    found = client.get_table(target)
  except NotFound:
    _check_dataset(client, target, location)
    found = client.create_table(wanted, exists_ok=True)
  _check_location(location, found.location, target)
  has, expected = _layout(found), _layout(wanted)
  if differ := [
    f'{name} is {has.get(name)}, expected {expected.get(name)}'
    for name in dict.fromkeys([*expected, *has])
    if has.get(name) != expected.get(name)
  ]:
    raise JobError(
      f'table {target} has another layout: {"; ".join(differ)}; give the name of a new '
      f'table{_statement(target, found, wanted, len(differ))}'
    )
  return found


def _statement(target, found, wanted, differences):
  """Returns how to add columns that a table lacks; '' if it differs in other ways."""
  has = {field.name for field in found.schema}
  lacks = [x for x in wanted.schema if x.name not in has and x.mode != 'REQUIRED']
  if len(lacks) < differences:
    return ''
  kind = lambda x: _TYPES.get(x.field_type, x.field_type)
  of_column = lambda x: f'ARRAY<{kind(x)}>' if x.mode == 'REPEATED' else kind(x)
  added = ', '.join(f'ADD COLUMN {x.name} {of_column(x)}' for x in lacks)
  return f', or add what it lacks: ALTER TABLE `{target}` {added}'


def _check_dataset(client, target, location):
  name = f'{target.project}.{target.dataset_id}'
  try:
    dataset = client.get_dataset(name)
  except NotFound as error:
    place = f'--location={shlex.quote(location)} ' if location else ''
    raise JobError(
      f'no dataset {name}: bq mk {place}--dataset {target.project}:{target.dataset_id}'
    ) from error
  _check_location(location, dataset.location, name)


def _check_location(wanted, found, name):
  if wanted and found and wanted.lower() != found.lower():
    raise JobError(f'--bigquery_location={wanted}: {name} is in {found}')


def _layout(table: bigquery.Table) -> dict[str, str]:
  """Returns the parts of a table's layout that must agree, by name."""
  layout = {}
  for field in table.schema:
    kind = _TYPES.get(field.field_type, field.field_type)
    layout[f'column {field.name}'] = f'{kind} {field.mode}'
  if partition := table.time_partitioning or table.range_partitioning:
    kind = getattr(partition, 'type_', 'RANGE')
    layout['partition'] = f'{kind} of {partition.field}'
  layout['clustering'] = ', '.join(table.clustering_fields or []) or None
  return layout
