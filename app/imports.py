"""Outputs of a network that was trained elsewhere, brought in on the page Runs; and how a script writes such a file."""

import tempfile
from pathlib import Path

import streamlit as st

from app import holdings, jobs, wording
from app.words import t
from cac_core import shell
from cac_core.exchange import import_outputs
from cac_core.recipe import slug

UPLOAD = 500  # MB, of all files of an import
ENDINGS = ["npz", "parquet", "csv", "tsv"]

# what stands before np.savez in a script of one's own, by library; each leaves `out`, a dictionary
SCRIPTS = {
    "PyTorch": """\
import numpy as np, torch

def outputs(loader):
    logits, features, labels = [], [], []
    with torch.no_grad():
        for x, y in loader:                # y is -1 for unknown classes
            h = network.features(x)        # what the last layer reads
            logits.append(network.head(h)), features.append(h), labels.append(y)
    return [torch.cat(some).numpy() for some in (logits, features, labels)]

network.eval()
out = {"weight": network.head.weight.detach().numpy(), "bias": network.head.bias.detach().numpy()}
for part, loader in {"train": train, "validation": validation, "test": test}.items():
    out[f"{part}_logits"], out[f"{part}_features"], out[f"{part}_labels"] = outputs(loader)
np.savez("outputs.npz", **out)
""",
    "Keras": """\
import keras, numpy as np

last = network.layers[-1]                  # a Dense layer; without softmax, or give probabilities
inner = keras.Model(network.inputs, last.input)
weight, bias = last.get_weights()
out = {"weight": weight.T, "bias": bias}
for part, (x, y) in {"train": train, "validation": validation, "test": test}.items():
    out[f"{part}_features"] = inner.predict(x)
    out[f"{part}_logits"] = out[f"{part}_features"] @ weight + bias
    out[f"{part}_labels"] = y              # -1 for unknown classes
np.savez("outputs.npz", **out)
""",
    "scikit-learn": """\
import numpy as np

out = {"weight": model.coef_, "bias": model.intercept_, "classes": np.array([str(c) for c in model.classes_])}
for part, (x, y) in {"train": train, "validation": validation, "test": test}.items():
    out[f"{part}_features"] = x
    out[f"{part}_logits"] = model.decision_function(x)
    out[f"{part}_labels"] = np.array([str(label) for label in y])  # another name is an unknown class
np.savez("outputs.npz", **out)
""",
    "JAX": """\
import jax, numpy as np

features = jax.jit(lambda x: network.apply(params, x, method="features"))
weight, bias = params["params"]["head"]["kernel"], params["params"]["head"]["bias"]
out = {"weight": np.asarray(weight).T, "bias": np.asarray(bias)}
for part, (x, y) in {"train": train, "validation": validation, "test": test}.items():
    h = np.asarray(features(x))
    out[f"{part}_features"], out[f"{part}_logits"] = h, h @ out["weight"].T + out["bias"]
    out[f"{part}_labels"] = np.asarray(y)  # -1 for unknown classes
np.savez("outputs.npz", **out)
""",
}


def outputs(tell) -> None:
    """The form; tell says what has come of it once the page is drawn again."""
    with st.expander(t("Import outputs of another network"), icon=":material/table_chart:"):
        st.caption(
            t(
                "Logits of images, with their labels, as an .npz, Parquet or CSV: every score, θ, ROC, Compare and "
                "export then work without the network. With features and the last layer more scores do. OpenOOD's "
                "score files (pred, conf, label) are read as they are; give those of the known and the unknown images "
                "together. What is missing costs only what needs it."
            )
        )
        turn = st.session_state.setdefault("outputs_turn", 0)  # another key empties the fields
        files = st.file_uploader(
            t("Files with outputs"), ENDINGS, accept_multiple_files=True, key=f"outputs_files_{turn}",
            max_upload_size=UPLOAD,
        )  # fmt: skip
        near = slug(Path(files[0].name).stem)[:40].strip("-") if files else ""
        name = st.text_input(t("Name of the run"), near, max_chars=40, key=f"outputs_name_{turn}_{near}")
        of = st.text_input(
            t("Name of the data set"), "", max_chars=40, key=f"outputs_of_{turn}", placeholder=near,
            help=t("Runs of one name, with the same labels in the same order, are compared image by image."),
        )  # fmt: skip
        classes = st.text_area(
            t("Names of the known classes, one a line, in the order of the logits"), key=f"outputs_classes_{turn}",
            help=t("May be left out where the file holds them, or where numbers will do."), height=110,
        )  # fmt: skip
        if st.button(t("Make it a run"), icon=":material/upload:", key="outputs_make", disabled=not files):
            with wording.explained():
                tell(_made(files, name, of, classes))
                st.session_state.outputs_turn = turn + 1
                st.rerun()
        st.markdown("**" + t("How a script of your own writes such a file") + "**")
        for tab, script in zip(st.tabs(list(SCRIPTS)), SCRIPTS.values(), strict=True):
            tab.code(script, "python")
        st.caption(t("On the command line:") + f" `{shell.command('import-outputs', 'outputs.npz', '--name', 'mine')}`")


def _made(files, name: str, of: str, classes: str) -> str:
    """Makes the run and says so."""
    given = [line.strip() for line in classes.splitlines() if line.strip()]
    with st.spinner(t("Reading the outputs…")), tempfile.TemporaryDirectory() as place:
        paths = []
        for n, file in enumerate(files):
            path = Path(place) / str(n) / Path(file.name).name
            path.parent.mkdir()
            path.write_bytes(file.getbuffer())
            paths.append(path)
        found = import_outputs.outputs_of(import_outputs.read(paths), given or None)
        run, new = import_outputs.make(
            found, name, jobs.store(), ", ".join(path.name for path in paths), holdings.root(), of
        )
    told = (
        t("Imported: {names}", names=run.id) if new else t("{name} is there already, of the same outputs.", name=run.id)
    )
    return " ".join([told, *map(wording.said, run.record.get("notes", []))])
