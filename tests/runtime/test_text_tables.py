"""Tables of text, as a reader of them takes them apart."""

from runtime.text_tables import aligned_table, markdown_table

HEAD, ROWS = ["run", "accuracy"], [["demo", "92.60 %"], ["a|b", "1"]]


def test_a_markdown_table_keeps_its_cells_though_one_holds_a_bar():
    lines = markdown_table(HEAD, ROWS).splitlines()
    assert lines == ["| run | accuracy |", "| --- | --- |", "| demo | 92.60 % |", "| a\\|b | 1 |"]


def test_an_aligned_table_has_texts_to_the_left_and_numbers_to_the_right():
    lines = aligned_table(HEAD, ROWS).splitlines()
    assert lines == ["run   accuracy", "--------------", "demo   92.60 %", "a|b          1"]
    assert aligned_table(HEAD, ROWS, left=()).splitlines()[2:] == ["demo   92.60 %", " a|b         1"]
