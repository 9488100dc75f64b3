from protocol.dedup import AnswerBook


def test_a_repeated_id_gets_the_stored_answer():
    book: AnswerBook[str] = AnswerBook()
    book.put("a", "first", 0)
    assert book.get("a", 1) == "first"
    assert book.get("b", 1) is None


def test_answers_are_forgotten_after_their_time():
    book: AnswerBook[str] = AnswerBook(ttl=10)
    book.put("a", "x", 0)
    assert book.get("a", 10) == "x"
    assert book.get("a", 10.1) is None
    assert len(book) == 0


def test_the_book_is_bounded_and_the_oldest_go_first():
    book: AnswerBook[int] = AnswerBook(limit=3)
    for n in range(5):
        book.put(str(n), n, n)
    assert [book.get(str(n), 5) for n in range(5)] == [None, None, 2, 3, 4]


def test_a_new_answer_replaces_the_old_and_counts_as_new():
    book: AnswerBook[int] = AnswerBook(limit=2)
    book.put("a", 1, 0)
    book.put("b", 2, 1)
    book.put("a", 3, 2)
    book.put("c", 4, 3)
    assert (book.get("a", 3), book.get("b", 3)) == (3, None)
