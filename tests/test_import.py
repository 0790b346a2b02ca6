import subprocess
import sys


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_the_package_imports_nothing_heavy():
    heavy = "{'torch', 'transformers', 'scipy', 'pydantic', 'numpy'} & set(sys.modules)"
    assert run(f"import sys, discretion; print({heavy})").strip() == "set()"


def test_the_verdict_and_the_command_line_need_no_torch():
    code = (
        "import sys, discretion.cli, discretion.verdict.decide, discretion.scenarios; print('torch' in sys.modules)"
    )
    assert run(code).strip() == "False"


def test_exported_names_exist():
    import discretion

    for name in discretion.__all__:
        assert getattr(discretion, name) is not None
