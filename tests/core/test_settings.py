"""The environment variables."""

import sys
from pathlib import Path

import pytest
from lookalike_core.cli.hint_words import full_message
from lookalike_core.errors import LookalikeError, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.settings import ProviderChoice, Settings
from platformdirs import user_data_path


def test_the_variables_are_read(tmp_path: Path) -> None:
    """Each is stored in the field of its name."""
    settings = Settings.from_environment(
        {
            "LOOKALIKE_HOME": str(tmp_path),
            "LOOKALIKE_STORE": "embedded",
            "LOOKALIKE_PROVIDER": "CPU",
            "QDRANT_URL": "http://qdrant:6333",
            "QDRANT_API_KEY": "secret",
            "LOOKALIKE_TOKEN": "hidden",
        }
    )
    assert settings == Settings(
        home=tmp_path,
        store="embedded",
        provider="cpu",
        qdrant_url="http://qdrant:6333",
        qdrant_api_key="secret",
        token="hidden",  # noqa: S106 - nobody's
    )
    assert not {"secret", "hidden"} & set(repr(settings).split("'"))


@pytest.mark.parametrize("value", [None, ""])
def test_an_empty_variable_counts_as_unset(value: str | None) -> None:
    """Compose files and CI set variables to the empty string."""
    names = (
        "LOOKALIKE_HOME",
        "LOOKALIKE_STORE",
        "LOOKALIKE_PROVIDER",
        "QDRANT_URL",
        "QDRANT_API_KEY",
        "LOOKALIKE_TOKEN",
    )
    settings = Settings.from_environment({} if value is None else dict.fromkeys(names, value))
    assert settings == Settings(home=user_data_path("lookalike", appauthor=False))


def test_the_process_environment_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands call `Settings.from_environment` without arguments."""
    monkeypatch.setenv("LOOKALIKE_STORE", "embedded:/elsewhere")
    assert Settings.from_environment().store == "embedded:/elsewhere"


def test_home_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Manifests record it, and must hold for any current folder."""
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_environment({"LOOKALIKE_HOME": "here"})
    assert settings.home == tmp_path / "here"


def test_a_tilde_stands_for_the_users_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Env files are not expanded by a shell."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert Settings.from_environment({"LOOKALIKE_HOME": "~/pictures"}).home == tmp_path / "pictures"


def test_weights_models_and_collections_lie_below_home(tmp_path: Path) -> None:
    """There is one folder to move, to mount or to remove."""
    settings = Settings(home=tmp_path)
    folders = (settings.weights_dir, settings.models_dir, settings.qdrant_dir)
    assert folders == (tmp_path / "weights", tmp_path / "models", tmp_path / "qdrant")


def test_an_unknown_provider_is_refused_with_the_known_ones() -> None:
    """A misspelt provider does not silently mean the CPU."""
    with pytest.raises(UsageError, match=r"'gpu'.*auto, cuda, openvino, cpu"):
        Settings.from_environment({"LOOKALIKE_PROVIDER": "gpu"})


def test_the_api_key_is_not_shown() -> None:
    """Settings may appear in logs and tracebacks."""
    shown = repr(Settings.from_environment({"QDRANT_API_KEY": "very-secret"}))
    assert "very-secret" not in shown


def test_requiring_a_gpu_leaves_cuda_as_the_only_provider(tmp_path: Path) -> None:
    """`--require-gpu` overrides the environment, and only when it is given."""
    settings = Settings(home=tmp_path, provider=ProviderChoice.CPU)
    assert settings.with_provider(None, require_gpu=True).provider is ProviderChoice.CUDA
    assert settings.with_provider(None, require_gpu=False) == settings


def test_a_named_provider_overrides_the_environment(tmp_path: Path) -> None:
    """`--provider` is more specific than a variable."""
    settings = Settings(home=tmp_path, provider=ProviderChoice.CPU)
    assert settings.with_provider(ProviderChoice.AUTO, require_gpu=False).provider is ProviderChoice.AUTO


@pytest.mark.parametrize("provider", [ProviderChoice.CPU, ProviderChoice.OPENVINO])
def test_a_required_gpu_and_another_provider_contradict_each_other(
    tmp_path: Path, provider: ProviderChoice
) -> None:
    """The request is ambiguous."""
    with pytest.raises(UsageError, match=f"a GPU is required, and {provider} is not one") as refused:
        Settings(home=tmp_path).with_provider(provider, require_gpu=True)
    assert refused.value.argument is Argument.PROVIDER
    assert refused.value.hint is not None
    assert refused.value.hint.action is Action.LEAVE_ONE_OUT


@pytest.mark.parametrize("name", ["file", "file/below", "long"])
def test_a_home_that_is_no_folder_is_refused_at_once(name: str, tmp_path: Path) -> None:
    """The remedy is to name another one."""
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    home = str(tmp_path / ("x" * 5_000 if name == "long" else name))
    with pytest.raises(LookalikeError) as refused:
        Settings.from_environment({"LOOKALIKE_HOME": home})
    assert "LOOKALIKE_HOME" in full_message(refused.value)
    assert refused.value.exit_code == (2 if name == "long" else 1)


def test_an_unknown_users_home_is_a_usage_error() -> None:
    """`~nobody...` cannot be expanded."""
    with pytest.raises(
        UsageError, match="LOOKALIKE_HOME: ~nobody-of-this-name/x is in the home folder of an unknown user"
    ):
        Settings.from_environment({"LOOKALIKE_HOME": "~nobody-of-this-name/x"})


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="where the user's folder is found otherwise")
def test_a_user_without_a_folder_is_told_to_name_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A container's user may be unknown to its system; no folder named `~` is created."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}["nobody"])
    with pytest.raises(UsageError, match="this user has no home folder") as refused:
        Settings.from_environment({})
    assert refused.value.hint == Hint(Action.SET_HOME)
    with pytest.raises(UsageError, match="LOOKALIKE_HOME: ~/x is in the home folder of an unknown user"):
        Settings.from_environment({"LOOKALIKE_HOME": "~/x"})
    assert Settings.from_environment({"LOOKALIKE_HOME": str(tmp_path)}).home == tmp_path
