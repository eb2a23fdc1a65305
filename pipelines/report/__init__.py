"""The report as a page: numbers (`figures`), plots (`plots`), HTML (`page`)."""
