"""The methods that `benchmarks.quality` trains: recipes and what changes in them."""

_OPTIONS = ['runs/quickstart.gin']
_PERCEIVER = ['runs/perceiver.gin']
_LM = ['train.stages = [@decoder/Stage()]', 'decoder/Stage.learning_rate = 1e-3']
_LM += ["decoder/Stage.trainable = ('adapter/.*',)"]
_CHAT = ["build.prompt_order = 'chat'"]
_WHOLE = ["train.task = 'movielens_genre_prediction_v1'"]
_FIRST_STAGE = 'train.stages = [@histories/Stage()]'
# The decoder learns to copy from the labels of the users, not from random answers.
_OWN_LABELS = ["decoder/Stage.task = ''"]
# method -> (recipes, bindings, stages whose steps are what fits into the budget)
METHODS = {
  'options': (_OPTIONS, [], ()),
  'options_lora': (_OPTIONS, ["train.tuning = 'lora'"], ()),
  'perceiver': (_PERCEIVER, [], ()),
  'mlp': ([*_PERCEIVER, 'adapters/mlp.gin'], [], ()),
  'transformer': ([*_PERCEIVER, 'adapters/transformer.gin'], [], ()),
  'perceiver_lora': (_PERCEIVER, ["train.tuning = 'lora'"], ()),
  'uem': (['runs/uem.gin'], [], ('decoder',)),
  'text_prompt': (['runs/text_prompt.gin'], [], ('decoder',)),
  'options_chat': (_OPTIONS, _CHAT, ()),
  'user_tokens_chat': (['runs/user_tokens.gin'], _CHAT, ()),
  'prompt_first': (_PERCEIVER, ["build.prompt_order = 'prompt_first'"], ()),
  # What each part of the recipe is worth: the perceiver with less of it.
  'lm_only': (['runs/lm_only.gin'], [], ('decoder',)),
  'lm_only_whole_histories': (['runs/lm_only.gin'], _WHOLE, ('decoder',)),
  'item_warmup': (['runs/item_warmup.gin'], [], ('items', 'decoder')),
  'template_lm_only': (_PERCEIVER, _LM, ('decoder',)),
  'whole_histories': (_PERCEIVER, _WHOLE, ()),
  'no_statistics': (_PERCEIVER, ['histories/Stage.statistics_weight = 0.0'], ()),
  'user_tokens': (['runs/user_tokens.gin'], [], ()),  # drafts masked
  # The same of the option queries: with less of the second stage, or of the first.
  'options_own_labels': (_OPTIONS, _OWN_LABELS, ()),
  'options_no_second_stage': (_OPTIONS, [_FIRST_STAGE], ()),
  'drafts': (_OPTIONS, [_FIRST_STAGE], ()),
  **{
    f'drafts_{name}': (_OPTIONS, [_FIRST_STAGE, *bindings], ())
    for name, bindings in {
      'no_categories': ['histories/Stage.category_weight = 0.0'],
      'no_attention': ['OptionQueries.num_layers = 0'],
      'no_sums': ["OptionQueries.statistics = ('mean', 'mean_of_all', 'share')"],
      'no_clipped_counts': [
        'OptionQueries.statistics = '
        "('log_count', 'mean', 'mean_of_all', 'share', 'length')"
      ],
      'whole_histories': _WHOLE,
      **{
        f'{steps}_steps': [f'histories/Stage.steps = {steps}']
        for steps in (200, 375, 750, 3000)
      },
    }.items()
  },
  # How F1 grows with the examples of the first stage, 64 a step; the recipe has 1,500.
  **{
    f'perceiver_{steps}_steps': (_PERCEIVER, [f'histories/Stage.steps = {steps}'], ())
    for steps in (375, 750, 3000, 6000)
  },
}
