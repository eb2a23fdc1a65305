"""Tables about option queries; `benchmarks.tables` writes them into the pages."""

from collections.abc import Callable

from benchmarks.result_files import PROBE, SETS, SIZES, markdown, read

_SHOWN = (*SIZES, 'genre_balanced, N=50')
# Of a method of benchmarks.quality, or of what needs no model -> what it is.
_ROWS: dict[str | tuple[str, str], str] = {
  'rule_on_sample': 'label rule on the same interactions (bound)',
  ('options', 'draft'): 'the draft alone',
  ('options', 'constrained'): "the decoder's text, kept to its form",
  ('options', 'f1'): "the decoder's text, free",
  ('options_lora', 'constrained'): 'with LoRA of rank 8, kept to its form',
  ('options_lora', 'f1'): 'with LoRA, free',
  ('options_own_labels', 'constrained'): (
    "second stage on the users' labels, kept to its form"
  ),
  ('options_no_second_stage', 'constrained'): 'no second stage, kept to its form',
  ('user_tokens', 'constrained'): 'drafts masked: user tokens alone, kept to its form',
  'linear_probe': PROBE,
  'logistic_regression': 'logistic regression on pooled vectors',
  'nearest_users': 'vote of the nearest training users',
  'constant': 'best constant answer',
  ('options', 'no_history'): "the decoder's text about a user without a history",
}
_PARTS = {
  'drafts': 'the whole first stage',
  'drafts_no_categories': 'without item supervision (categories)',
  'drafts_no_attention': 'without attention between options',
  'drafts_no_sums': 'without sums: means and shares alone',
  'drafts_no_clipped_counts': 'without clipped counts',
  'drafts_whole_histories': 'trained on whole histories, no sub-histories',
}

# Steps of the first stage -> method.
_CURVE = {steps: f'drafts_{steps}_steps' for steps in (200, 375, 750)}
_CURVE |= {1500: 'drafts', 3000: 'drafts_3000_steps'}


def options() -> str:
  """What option queries score, and what can be compared with it, on both data sets."""
  columns = {
    f'{data}, {name}': read(f'quality_{data}')['means'][name]
    for data in SETS
    for name in _SHOWN
  }
  rows = []
  for name, what in _ROWS.items():
    cells = [_cell(name, means) for means in columns.values()]
    if any(cells):
      rows.append([what, *(cell or 'not run' for cell in cells)])
  return markdown(['', *columns], rows)


def _cell(name, means):
  """0.593 ± 0.004 (0.98): mean, half of the spread over seeds, share of the bound."""
  bound = means['rule_on_sample']
  if isinstance(name, str):
    value, spread = means[name], ''
  else:
    method, answer = name
    found = means.get(method)
    if not found:
      return ''
    several = found['seeds'] > 1
    found = found if answer == 'f1' else found[answer]
    value, spread = found['f1'], f' ± {found["spread"] / 2:.3f}' if several else ''
  return f'{value:.3f}{spread} ({value / bound:.2f})'


def above_probe() -> str:
  """Text and draft less the linear probe, of each data set and of both."""
  answers = {'constrained': 'text, kept to its form', 'model': 'text, free'}
  recipes = {'options': '', 'options_lora': ', LoRA'}
  rows = []
  for row in read('above_probe')['results']:
    cells = [
      f'{row[of]["difference"]:.3f} ({row[of]["interval"][0]:.3f} to '
      f'{row[of]["interval"][1]:.3f})'
      for of in (*SETS, 'both', 'sets')
    ]
    said = answers.get(row['method'], row['method']) + recipes[row['recipe']]
    rows.append([row['shown'], said, *cells])
  return markdown(
    ['interactions', 'answers', *SETS, 'both, over users', 'both, mean of the sets'],
    rows,
  )


def _drafts(names: dict) -> dict:
  """F1 of the drafts of each method, at all that is shown, and processor seconds."""
  results = read('quality_ml-100k')
  found = {}
  for key, method in names.items():
    means = [results['means'][shown].get(method) for shown in _SHOWN]
    if all(means):
      cells = [x for x in results['cells'] if x['method'] == method]
      seconds = cells[0]['train_processor_seconds']
      found[key] = [*(f'{x["f1"]:.3f}' for x in means), f'{seconds} s']
  return found


def option_parts() -> str:
  """The first stage with parts left out, drafts of seed 0 on MovieLens-100K."""
  found = _drafts({what: name for name, what in _PARTS.items()})
  rows = [[what, *cells] for what, cells in found.items()]
  return markdown(['first stage', *_SHOWN, 'processor time'], rows)


def option_curve() -> str:
  """F1 of drafts against examples of the first stage, seed 0 of MovieLens-100K."""
  found = _drafts(_CURVE)
  rows = [[f'{steps:,}', f'{64 * steps:,}', *cells] for steps, cells in found.items()]
  return markdown(['steps', 'examples', *_SHOWN, 'processor time'], rows)


def unseen_options() -> str:
  """Options that training never saw, beside a word match and a cosine."""
  results = read('unseen_options')['results']
  methods = {
    'bound': 'label rule on the true genres',
    'from_texts': 'option queries from texts',
    'word_match': 'word match',
    'cosine': 'cosine of the vectors',
  }
  keys = list(dict.fromkeys((row['texts'], row['asked']) for row in results))
  of = {key: [x for x in results if (x['texts'], x['asked']) == key] for key in keys}
  rows = []
  for method, what in methods.items():
    cells = []
    for rows_of_key in of.values():
      values = [x['f1'][method] for x in rows_of_key if method in x['f1']]
      cells.append(_mean(values) if values else '–')
    rows.append([what, *cells])
  named = {'genres': 'texts with genres', 'titles': 'titles alone'}
  headers = [f'{named[texts]}, genres {asked} in training' for texts, asked in keys]
  return markdown(['', *headers], rows)


def _mean(values):
  """0.512 ± 0.034: mean and half of the spread."""
  spread = (max(values) - min(values)) / 2
  return f'{sum(values) / len(values):.3f}' + (f' ± {spread:.3f}' if spread else '')


def first_stage() -> str:
  """Examples a second of the first stage, of its data alone, of its update alone."""
  rows = []
  for length, found in read('first_stage')['lengths'].items():
    of = {name: f'{x["examples_a_second"]:,.0f}' for name, x in found['rows'].items()}
    cases = dict.fromkeys(name.partition(':')[0] for name in of)
    for case in cases:
      kinds = [of.get(f'{case}: {x}') for x in ('training', 'data', 'update')]
      if case != 'calls':
        rows.append([length, case, *kinds])
    rows += [
      [length, f'steps in {name}', value, '', '']
      for name, value in of.items()
      if name.startswith('calls')
    ]
  headers = ['', 'recipe, batches', 'training', 'data alone', 'update alone']
  return markdown(headers, rows)


def many_options() -> str:
  """Memory and time of few and many options, beside a dense classifier."""
  rows = []
  for name, row in read('many_options')['rows'].items():
    if 'parameters' not in row:
      continue
    step, user = row.get('seconds_a_step'), row.get('seconds_a_user_drafting')
    rows.append(
      [
        name,
        f'{row["parameters"] / 1e6:.2f} M',
        f'{row["temp_gb"]:.2f} GB',
        f'{1000 * step:,.0f} ms' if step else 'not run',
        f'{1000 * user:.2f} ms' if user else 'not run',
      ]
    )
  headers = ['', 'parameters', 'memory of a step', 'a step of 64', 'drafting, a user']
  return markdown(headers, rows)


def grammars() -> str:
  """Size, making and use of the grammars of lists of many names."""
  made = {'trie': 'a trie', 'subsets': 'a state for each set of names'}
  rows = []
  for name, row in read('grammars')['rows'].items():
    kind, names, most = name.split(', ')
    speed = row['tokens_a_user'] * row['users_a_processor_second']
    rows.append(
      [
        f'{int(names.split()[0]):,} names, {most}',
        made[kind],
        f'{row["widest"]:,}',
        f'{row["states"]:,}',
        f'{row["megabytes"]:.2f} MB',
        f'{row["processor_seconds_making"]:.1f} s',
        f'{row["tokens_a_user"]:.0f}',
        f'{row["users_a_processor_second"]:.1f}',
        f'{speed:.0f}',
      ]
    )
  headers = ['', 'made as', 'tokens at a place', 'states', 'memory', 'making']
  headers += ['tokens a user', 'users a second', 'tokens a second']
  return markdown(headers, rows)


def shared_questions() -> str:
  """Scores of three questions on one model, and of a model for each."""
  rows = []
  for part in ('drafts', 'answers'):
    found = [x['results'] for x in read('shared_questions')['parts'][part].values()]
    for what, questions in found[0].items():
      scores = [[seed[what][name] for seed in found] for name in questions]
      rows.append([what, *map(_mean_and_range, scores)])
  return markdown(['', 'genres, F1', 'like, AUC', 'stars, absolute error'], rows)


def untrained_questions() -> str:
  """AUC of a question that nobody was trained on, mean over genres."""
  seeds = [x['genres'] for x in read('shared_questions')['parts']['untrained'].values()]
  methods = next(iter(seeds[0].values()))['auc']
  mean = lambda seed, what: sum(x['auc'][what] for x in seed.values()) / len(seed)
  rows = [
    [what, _mean_and_range([mean(seed, what) for seed in seeds])] for what in methods
  ]
  return markdown(['what tells of the user', 'AUC, mean over the genres'], rows)


def _mean_and_range(scores):
  """0.579 (0.571 to 0.590): the mean over the seeds, the lowest and the highest."""
  low, mean, high = min(scores), sum(scores) / len(scores), max(scores)
  return f'{mean:.3f} ({low:.3f} to {high:.3f})'


TABLES: dict[str, Callable[[], str]] = {
  'options': options,
  'above-probe': above_probe,
  'option-parts': option_parts,
  'option-curve': option_curve,
  'unseen-options': unseen_options,
  'first-stage': first_stage,
  'many-options': many_options,
  'grammars': grammars,
  'shared-questions': shared_questions,
  'untrained-questions': untrained_questions,
}
