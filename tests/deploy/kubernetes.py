"""src/deploy/kubernetes against the schemas of Kubernetes, and its numbers against the worker's own plan.

kubernetes.py WORKER: with kubernetes-validate, which brings the schemas along.
"""

import pathlib
import subprocess
import sys

import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "src/deploy/kubernetes"
VERSIONS = ["1.29", "1.31", "1.33", "1.35", "1.37"]
MANIFESTS = ["deployment.yaml", "service.yaml", "autoscaler.yaml"]


def documents(name):
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def check_schemas():
    n = 0
    for name in MANIFESTS:
        for document in documents(name):
            for version in VERSIONS:
                kubernetes_validate.validate(document, version, strict=True)
                n += 1
    # What should fail does.
    for broken in ({"replicas": "three"}, {"replica": 3}):
        document = documents("deployment.yaml")[0]
        document["spec"].update(broken)
        try:
            kubernetes_validate.validate(document, VERSIONS[-1], strict=True)
        except kubernetes_validate.ValidationError:
            continue
        raise SystemExit("the checker takes %s" % broken)
    print("%d checks of %s against Kubernetes %s" % (n, ", ".join(MANIFESTS), ", ".join(VERSIONS)))


def check_resources(binary):
    """The deployment's numbers are those of resources.sh, and its patch fits the deployment."""
    container = documents("deployment.yaml")[0]["spec"]["template"]["spec"]["containers"][0]
    planned = [word for word in container["args"] if word.split("=")[0] in ("--context", "--parallel", "--kv-memory", "--threads")]
    result = subprocess.run([FOLDER / "resources.sh", ROOT / "models/tallow-tiny", *planned], capture_output=True, text=True, check=True,
                            env={"TALLOW": str(pathlib.Path(binary).resolve()), "PATH": "/usr/bin:/bin"})
    patch = yaml.safe_load(result.stdout)
    patched = patch["spec"]["template"]["spec"]["containers"][0]
    if patched["resources"] != container["resources"]:
        raise SystemExit("deployment.yaml says %s, the plan %s" % (container["resources"], patched["resources"]))
    same = {word for word in container["args"] if not word.startswith("--model")}
    if {word for word in patched["args"] if not word.startswith("--model")} != same:
        raise SystemExit("resources.sh gives %s, deployment.yaml has %s" % (patched["args"], container["args"]))
    print("resources are those of the plan: %s" % container["resources"]["requests"])


if __name__ == "__main__":
    check_schemas()
    check_resources(sys.argv[1])
