"""Expressions choose the same rows as pandas does, which would execute what these refuse."""

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import ProfileError
from cpcnn_core.expressions import choose_rows
from cpcnn_core.schema.profiles import Profiles


@pytest.fixture
def rows():
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "Metadata_Plate": random.choice(["P1", "000123"], 200),
            "Metadata_Well": random.choice(["A01", "A02", "B01"], 200),
            "Metadata_Site": random.choice(["1", "2", "3"], 200),
            "Metadata_Treatment": random.choice(["DMSO", "taxol", "a | b", "it's"], 200),
            "Metadata_Dose": random.choice([0, 0.5, 10, np.nan], 200),
            "Metadata_Count": random.integers(0, 50, 200),
            "Metadata_Dose uM": random.integers(0, 3, 200),
            "Metadata_Control": random.choice([True, False], 200),
        }
    )


def chosen(rows, expression):
    return choose_rows(Profiles(np.zeros((len(rows), 1)), rows, ["x"]), expression)


# What pandas says of the same columns without Metadata_.
SAME = [
    "Treatment == 'DMSO'",
    "Treatment != 'DMSO' and Count > 10",
    "Dose == 10 or Treatment == 'DMSO'",
    "Dose == 10 | Treatment == 'DMSO'",
    "(Dose == 10) & ~(Treatment == 'DMSO')",
    "Dose == 10 & Count < 20 | Well == 'B01'",
    "0 < Dose <= 10",
    "not (Dose >= 0.5)",
    "Treatment in ['DMSO', 'taxol']",
    "Treatment not in ('DMSO', 'taxol')",
    "Well in ['A01'] and Plate == 'P1'",
    "`Dose uM` == 2",
    "`Dose uM` > 0 and Treatment == 'a | b'",
    'Treatment == "it\'s"',
    "10 >= Count",
    "+5 < Count",
    "Control",
    "not Control and Count < 25",
    "Control == True",
    "Treatment.str.startswith('t')",
    "Dose.isna() or Dose == 10",
    "Treatment.str.endswith('O')",
    "Treatment.str.contains('a')",
    "not Treatment.str.startswith('t') and Dose.notna()",
    "Well.isin(['A01', 'B01'])",
    "((((Dose == 10))))",
    "Dose == Count",
    "Well > 'A01'",
]


@pytest.mark.parametrize("expression", SAME)
def test_it_chooses_what_pandas_chooses(rows, expression):
    short = rows.rename(columns=lambda name: name.removeprefix("Metadata_"))
    expected = short.eval(expression, engine="python").to_numpy(bool)
    assert 0 < expected.sum() < 200
    np.testing.assert_array_equal(chosen(rows, expression), expected)


PAIRS = [
    ("Dose == '10'", "Dose == 10"),
    ("Dose == '10' or Treatment == 'DMSO'", "Dose == 10 or Treatment == 'DMSO'"),
    ("Dose != '0.50'", "Dose != 0.5"),
    ("Dose >= '0.5'", "Dose >= 0.5"),
    ("Dose in ['10', 0]", "Dose in [10, 0]"),
    ("'10' == Dose", "Dose == 10"),
    ("`Dose uM` == '2'", "`Dose uM` == 2"),
    ("Site == 1", "Site == '1'"),
    ("Site >= 2", "Site in ['2', '3']"),
    ("Site in [1, '3']", "Site != '2'"),
    ("1 < Site < 3", "Site == '2'"),
    ("Plate == 123", "Plate == '000123'"),
    ("Metadata_Dose == '10'", "Dose == 10"),
    ("Dose == ''", "Dose.isna()"),
    ("Dose != None", "Dose.notna()"),
    ("Dose == 'NA'", "Dose.isna()"),
    ("Control == 'yes' or Control == 1", None),
    ("Dose == 'high' or Treatment == 'DMSO'", None),
    ("Well == 1", None),
    ("Well >= 'A01' and Well < 2", None),
    ("Well == Dose", None),
    ("Treatment == 'NA' or Dose == 10", None),
]


@pytest.mark.parametrize(("expression", "same"), PAIRS)
def test_numbers_as_texts_and_texts_as_numbers_are_never_silently_false(rows, expression, same):
    if same is None:
        with pytest.raises(ProfileError):
            chosen(rows, expression)
        return
    rows["Metadata_Plate"] = rows["Metadata_Plate"].replace("P1", "77")
    short = rows.rename(columns=lambda name: name.removeprefix("Metadata_"))
    expected = short.eval(same, engine="python").to_numpy(bool)
    assert 0 < expected.sum() < 200
    np.testing.assert_array_equal(chosen(rows, expression), expected)


@pytest.mark.parametrize("kind", ["category", "string", "Int64", "Float64", "int64[pyarrow]"])
def test_columns_of_pandas_own_types(rows, kind):
    texts = kind in ("category", "string")
    column = "Metadata_Treatment" if texts else "Metadata_Count"
    expected = (rows[column] == ("DMSO" if texts else 7)).to_numpy(copy=True)
    rows[column] = rows[column].astype(kind)
    assert 0 < expected.sum() < 200
    expression = "Treatment == 'DMSO'" if texts else "Count == '7'"
    np.testing.assert_array_equal(chosen(rows, expression), expected)
    rows.loc[0, column] = None
    expected[0] = False
    np.testing.assert_array_equal(chosen(rows, expression), expected)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("Well ==", "cannot understand 'Well =='"),
        ("Treatment = 'DMSO'", "does not say yes or no for every row"),
        ("Treatment", "does not say yes or no for every row"),
        ("Dosis == 1", "name 'Dosis' is not defined; there are the columns Plate, Well"),
        ("`Dose nM` == 1", "name 'Dose nM' is not defined; there are the columns Plate, Well"),
        ("Well == 'Z99'", "is true for none of the 200 rows"),
        ("@rows", "cannot understand"),
        ("__import__('os').getcwd() == Well", "cannot understand"),
        ("", "cannot understand"),
        ("Treatment ==== 'a'", "cannot understand"),
    ],
)
def test_what_cannot_be_understood_is_one_line(rows, expression, message):
    with pytest.raises(ProfileError, match=message) as raised:
        chosen(rows, expression)
    assert "\n" not in str(raised.value)


FUNCTIONS = [
    ("startswith(Treatment, 't')", "Treatment.str.startswith('t')"),
    ("endswith(Treatment, 'O')", "Treatment.str.endswith('O')"),
    ("contains(Treatment, '| b')", "Treatment == 'a | b'"),
    ("isna(Dose) or Dose == 10", "Dose.isna() or Dose == 10"),
    ("notna(`Dose uM`) and not isna(Dose)", "Dose.notna()"),
]


@pytest.mark.parametrize(("function", "same"), FUNCTIONS)
def test_tests_are_written_as_functions_too(rows, function, same):
    expected = chosen(rows, same)
    assert 0 < expected.sum() < 200
    np.testing.assert_array_equal(chosen(rows, function), expected)


ATTACKS = [
    "Treatment == 'DMSO' and @pd.io.common.os.system('touch {file}') == 0",
    "Treatment.to_csv('{file}') == None",
    "Treatment.str.startswith.__globals__['x'] == 1",
    "Treatment.str.replace('D', open('{file}', 'w').name) == 'x'",
    "__import__('os').system('touch {file}') == Dose",
    "[open('{file}', 'w') for one in 'a'] == Dose",
    "(lambda: open('{file}', 'w'))() == Dose",
    "startswith(Treatment, open('{file}', 'w').name)",
    "startswith(Treatment, Treatment)",
    "Treatment.str.startswith(pat='t')",
    'f\'{{open("{file}", "w")}}\' == Treatment',
    "9**9**9**9 == Dose",
    "Dose * 2 + 1 > Count",
    "'a' * 10000000000 == Treatment",
    "Dose == " + "9" * 400,
    "Dose == [[1], [2]]",
    "Dose == 1j",
    "Dose == b'a'",
    "Dose is None",
    "(Dose := 1) == 1",
    "Dose == 1 if Control else 2",
    "Treatment[0] == 'DMSO'",
    "(" * 300 + "Control" + ")" * 300,
    "not " * 5000 + "Control",
    "Control" + " and Control" * 5000,
    "Dose == 'a\0b'",
    "True",
    "1 == 1",
]


@pytest.mark.parametrize("expression", ATTACKS)
def test_nothing_that_is_written_is_executed(rows, tmp_path, expression):
    file = tmp_path / "made"
    text = expression.replace("{file}", str(file)).replace("{{", "{").replace("}}", "}")
    with pytest.raises(ProfileError) as raised:
        chosen(rows, text)
    assert not file.exists()
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 2 * len(text) + 800
