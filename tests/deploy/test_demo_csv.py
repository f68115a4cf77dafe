"""The demo engine's CSV input: what is read, and what is refused with the line and the column."""

from pathlib import Path

import pytest

from deploy.demo.csv_source import read_csv
from deploy.demo.errors import InputError
from deploy.demo.figures import Cases, Figures
from deploy.demo.mapping import load_mapping
from shared.statistics import month_number

HEADER = "period,org_code,type,attendances,breaches,admissions"
ROWS = ("2017-01,RA1,1,100,10,5", "2017-02,RA1,1,200,30,5", "2017-01,RA1,other,50,0,0", "2017-01,RB2,1,80,8,1")

Read = dict[tuple[str, tuple[str, ...], int], Cases]


def flat(figures: Figures) -> Read:
    return {
        (entity.facility.facility_id, tuple(value for _, value in entity.dimensions), month): cases
        for entity, months in figures.by_entity.items()
        for month, cases in months.items()
    }


def read(tmp_path: Path, text: str | bytes, mapping: str | None = None) -> Figures:
    file = tmp_path / "figures.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    if mapping is None:
        return read_csv(file)
    (tmp_path / "mapping.toml").write_text(mapping)
    return read_csv(file, load_mapping(tmp_path / "mapping.toml"))


def lines(*rows: str, header: str = HEADER) -> str:
    return "\n".join([header, *rows]) + "\n"


EXPECTED: Read = {
    ("RA1", ("1",), month_number("2017-01")): Cases(10, 100),
    ("RA1", ("1",), month_number("2017-02")): Cases(30, 200),
    ("RA1", ("other",), month_number("2017-01")): Cases(0, 50),
    ("RB2", ("1",), month_number("2017-01")): Cases(8, 80),
}


def test_the_mapping_that_fits_the_header_is_found(tmp_path: Path) -> None:
    figures = read(tmp_path, lines(*ROWS))
    assert flat(figures) == EXPECTED
    entity = next(iter(figures.by_entity))
    assert (entity.measure.metric_id, entity.measure.polarity) == ("aeFourHourBreachRate", "lower_is_better")
    assert (entity.facility.name, entity.dimensions) == ("RA1", (("department", "1"),))


@pytest.mark.parametrize(
    "text",
    [
        lines(*reversed(ROWS)),
        "\ufeff" + lines(*ROWS),
        lines(*ROWS).replace("\n", "\r\n"),
        lines(*ROWS).replace("\n", "\r"),
        lines(*ROWS).rstrip("\n"),
        lines(*ROWS).replace(",", ";"),
        lines(*ROWS).replace(",", "\t"),
        lines(*ROWS).replace(",", "|"),
        lines(*ROWS).replace(",", " , "),
        lines("", *ROWS, "", ",,,,,"),
        "\n\n" + lines(*ROWS),
        lines(*(f'"{row.replace(",", chr(34) + "," + chr(34))}"' for row in ROWS)),
        "\n".join(",".join(reversed(line.split(","))) for line in lines(*ROWS).splitlines()),
    ],
    ids=[
        "any order of rows", "byte order mark", "CRLF", "CR", "no last line end", "semicolons", "tabs", "bars",
        "blanks around", "blank lines", "blank lines first", "quoted", "any order of columns",
    ],
)  # fmt: skip
def test_the_same_figures_in_other_clothes(tmp_path: Path, text: str) -> None:
    assert flat(read(tmp_path, text)) == EXPECTED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": the file is empty"),
        ("\n  \n", ": the file is empty"),
        (lines(), ": there are no rows below the header"),
        (lines(*ROWS, "2017-01,RB2,1,90,9,1"), ", line 6, column period: 2017-01 RB2 1 is already in line 5"),
        (lines("2017-01,RA1,1,100,101,5"), ", line 2, column breaches: 101 is more than attendances 100"),
        (lines("2017-01,RA1,1,many,10,5"), ", line 2, column attendances: 'many' is not a number of 0 or more"),
        (lines("2017-01,RA1,1,,10,5"), ", line 2, column attendances: '' is not a number of 0 or more"),
        (lines("2017-01,RA1,1,100,-1,5"), ", line 2, column breaches: '-1' is not a number of 0 or more"),
        (lines("2017-01,RA1,1,nan,1,5"), ", line 2, column attendances: 'nan' is not a number of 0 or more"),
        (lines("2017-01,RA1,1,1e999,1,5"), ", line 2, column attendances: '1e999' is not a number of 0 or more"),
        (lines("2017-01,RA1,1,1_000,1,5"), ", line 2, column attendances: '1_000' is not a number of 0 or more"),
        (lines("2017-13,RA1,1,100,10,5"), ", line 2, column period: '2017-13' has no month from 01 to 12"),
        (lines("Jan 2017,RA1,1,100,10,5"), ", line 2, column period: 'Jan 2017' is not a month like 2017-06"),
        (lines("0017-01,RA1,1,100,10,5"), ", line 2, column period: '0017-01' is not between the years 1900 and 2100"),
        (lines("2017-01,,1,100,10,5"), ", line 2, column org_code: is empty"),
        (lines("2017-01,RA1,,100,10,5"), ", line 2, column type: is empty"),
        (lines(f"2017-01,{'R' * 51},1,100,10,5"), ", line 2, column org_code: is longer than 50 characters"),
        (lines(f"2017-01,RA1,{'d' * 256},100,10,5"), ", line 2, column type: is longer than 255 characters"),
        (lines("2017-01,R\0,1,100,10,5"), ", line 2, column org_code: has characters that cannot be printed"),
        (lines("2017-01,RA1,1,100,10"), ", line 2: 5 columns where the header has 6"),
        (lines(ROWS[0], "2017-01,RA1,1,100,10,5,7"), ", line 3: 7 columns where the header has 6"),
        (lines('2017-01,"RA1,1,100,10,5'), ", line 2: unexpected end of data"),
        (lines("2017-01,RA1,1,100,10,5").encode() + b"2017-02,R\xff,1,1,1,1\n", ", line 3: not UTF-8"),
        (lines(*ROWS).encode("utf-16"), ", line 1: not UTF-8"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    assert str(error.value) == f"{tmp_path / 'figures.csv'}{message}"


def test_texts_may_be_as_long_as_their_columns(tmp_path: Path) -> None:
    [entity] = read(tmp_path, lines(f"2017-01,{'R' * 50},{'d' * 255},100,100,5")).by_entity
    assert (entity.facility.facility_id, dict(entity.dimensions)) == ("R" * 50, {"department": "d" * 255})


@pytest.mark.parametrize("month", ["1900-01", "2100-12"])
def test_months_may_be_of_two_centuries(tmp_path: Path, month: str) -> None:
    assert read(tmp_path, lines(f"{month},RA1,1,100,10,5")).last_month == month_number(month)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.csv: No such file or directory"):
        read_csv(tmp_path / "absent.csv")


def test_a_header_that_no_mapping_fits_shows_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, lines("x", header="period,org_code"))
    assert "line 1: no mapping fits the columns period, org_code: name one with --mapping" in str(error.value)
    assert "nhs_ae.toml: period, org_code, breaches, attendances, type" in str(error.value)


MAPPING = """
[columns]
month = "Month"
facility_id = "Code"
facility = "Hospital"
system_name = "Trust"
numerator = "Days"
denominator = "Stays"

[measure]
metric_id = "los"
name = "Length of stay"
domain = "Efficiency"
polarity = "target_range"
target_range = [3, 5]
service_line = "Surgery"
canonical_node_id = "node"
is_share = false
"""


def test_another_file_has_a_mapping_of_its_own(tmp_path: Path) -> None:
    text = (
        "Month;Code;Hospital;Trust;Days;Stays\n"
        "2020-02;7;Old Name;T;410.5;100\n"
        "2020-03;7;New Name;T;400;100\n"
        "2020-01;7;Old Name;T;400;100\n"
    )
    figures = read(tmp_path, text, MAPPING)
    [(entity, months)] = figures.by_entity.items()
    assert (entity.facility.facility_id, entity.facility.name, entity.facility.system_name) == ("7", "New Name", "T")
    assert entity.measure.target_range == (3.0, 5.0)
    assert not entity.measure.as_percentage
    assert entity.dimensions == ()
    assert months[month_number("2020-02")] == Cases(410.5, 100)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("Month,Code,Hospital,Trust,Days", "line 1: column Stays is missing"),
        ("Month,Code,Hospital,Trust,Days,Stays,Days", "line 1: column Days is there more than once"),
    ],
)
def test_columns_of_the_mapping_are_in_the_header_once(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, lines("x", header=header), MAPPING)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ("[columns", "not a TOML file"),
        (MAPPING.replace('"Efficiency"', '"Speed"'), "measure.domain: Input should be 'Efficiency'"),
        (MAPPING.replace('month = "Month"', ""), "columns.month: Field required"),
        (MAPPING + "\n[colums]\n", "colums: Extra inputs are not permitted"),
        (MAPPING.replace("[3, 5]", "[5, 3]"), "measure.target_range: .*lowest first"),
    ],
)
def test_a_broken_mapping_is_refused(tmp_path: Path, mapping: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"mapping\.toml.*{message}"):
        read(tmp_path, lines(*ROWS), mapping)
