"""The question about readers of books in the example of docs/own_data.md."""

from tasks import genre_prediction
from tasks.questions import Question

BOOKS = Question(
  name='book_subjects_v1',
  prompt='\nSubjects:\n',
  likes='The reader enjoys',
  dislikes=' and avoids',
  none='nothing in particular',
  most=2,
)
genre_prediction.register(BOOKS)
