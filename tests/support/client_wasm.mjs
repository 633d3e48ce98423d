// Imports every module of the client and tests what is pure in it, in a Python for WebAssembly.
//
//     node tests/support/client_wasm.mjs FOLDER_WITH_PYTHON CHECKOUT

import { pathToFileURL } from "node:url";

const [home, checkout] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(`${home}/package/pyodide.mjs`));
const python = await loadPyodide();
for (const [place, root] of [["/checkout", checkout], ["/site", `${home}/site`]]) {
  python.FS.mkdirTree(place);
  python.FS.mount(python.FS.filesystems.NODEFS, { root }, place);
}
const code = await python.runPythonAsync(`
import importlib, os, pathlib, sys, warnings

os.chdir("/checkout")
sys.path[:0] = ["/checkout/client", "/checkout", "/site"]
sys.dont_write_bytecode = True
print("Python", sys.version.split()[0])

import pytest

# They are for systems with processes, and import what only those have; integrations import their libraries.
FOR_PROCESSES = {"run_command", "run_output", "run_report", "run_task"}
with warnings.catch_warnings():
    warnings.simplefilter("error")
    for path in sorted(pathlib.Path("client/monitoring_client").rglob("*.py")):
        name = ".".join(path.relative_to("client").with_suffix("").parts)
        if path.stem in FOR_PROCESSES or path.parent.name == "integrations":
            compile(path.read_text(), path, "exec")
        else:
            importlib.import_module(name.removesuffix(".__init__"))

options = ["-q", "--timeout=0", "-p", "no:cacheprovider", "--confcutdir=tests/integration/client"]
int(pytest.main([*options, "tests/unit/client/test_client_facts.py"]))
`);
process.exit(code);
