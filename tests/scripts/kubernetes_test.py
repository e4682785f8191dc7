"""scripts/kubernetes/render.py: the manifest's fields that matter."""
import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

try:
    import yaml
except ImportError:
    yaml = None

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "kubernetes"
SPEC = 'version: 1\nmodel: some-sdxl\njobs: [{prompt: "an @IMAGE@ of $(HOME)\'s apple: \\u00e4 #1", seed: 1}]\n'


class RenderTest(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)
        self.spec = pathlib.Path(self.scratch.name) / "Fruit_sheet.v2.yaml"
        self.spec.write_text(SPEC)

    def render(self, *arguments, code=0):
        result = subprocess.run([sys.executable, str(FOLDER / "render.py"), str(self.spec), "--image", "reg/backlot:1",
                                 "--shards", "8", "--runs-pvc", "runs", *arguments],
                                text=True, capture_output=True, check=False)
        self.assertEqual(result.returncode, code, result.stderr)
        return result.stdout if code == 0 else result.stderr

    def documents(self, *arguments):
        if yaml is None:
            self.skipTest("python3-yaml is not installed")
        return list(yaml.safe_load_all(self.render(*arguments)))

    def job(self, *arguments):
        return self.documents(*arguments)[1]["spec"]

    def container(self, *arguments):
        return self.job(*arguments)["template"]["spec"]["containers"][0]

    def test_the_spec_goes_along_unchanged(self):
        prompts = self.spec.with_name("prompts.csv")
        prompts.write_text("prompt\na pear\n")
        data = self.documents("--with", str(prompts))[0]["data"]
        self.assertEqual(data, {"Fruit_sheet.v2.yaml": SPEC, "prompts.csv": "prompt\na pear\n"})

    def test_pod_k_makes_shard_k_plus_one(self):
        job = self.job("--parallelism", "3")
        self.assertEqual((job["completionMode"], job["completions"], job["parallelism"]), ("Indexed", 8, 3))
        container = self.container("--", "--set=jobs[0].prompt=$(HOME) 'x'")
        self.assertEqual(container["command"], ["/bin/sh", "-c"])
        # As the kubelet would start it: $$( stands for $(.
        arguments = [each.replace("$$(", "$(") for each in container["args"]]
        echo = [arguments[0].replace("exec backlot", "exec printf '%s\\n'"), *arguments[1:]]
        said = subprocess.run(["/bin/sh", "-c", *echo], env={"JOB_COMPLETION_INDEX": "4", "PATH": "/usr/bin:/bin"},
                              text=True, capture_output=True, check=True).stdout.splitlines()
        self.assertEqual(said, ["fleet-run", "/spec/Fruit_sheet.v2.yaml", "--output=/runs/fruit-sheet-v2",
                                "--progress=plain", "--set=jobs[0].prompt=$(HOME) 'x'", "--shard", "5/8"])

    def test_what_ends_count_as(self):
        job = self.job("--retries", "5")
        self.assertEqual(job["backoffLimitPerIndex"], 5)
        self.assertEqual(job["podReplacementPolicy"], "Failed")
        rules = [(rule["action"], rule.get("onExitCodes", {}).get("values"),
                  [each["type"] for each in rule.get("onPodConditions", [])])
                 for rule in job["podFailurePolicy"]["rules"]]
        self.assertEqual(rules, [("Ignore", None, ["DisruptionTarget"]), ("Ignore", [130, 143], []),
                                 ("FailIndex", [1, 2], []), ("Count", [3], [])])
        for rule in job["podFailurePolicy"]["rules"][1:]:
            self.assertEqual(rule["onExitCodes"]["containerName"], "backlot")
        pod = job["template"]["spec"]
        self.assertEqual(pod["restartPolicy"], "Never")
        self.assertGreater(pod["terminationGracePeriodSeconds"], 5)

    def test_resources(self):
        resources = self.container("--gpus", "2", "--memory", "40Gi", "--cpu", "8")["resources"]
        self.assertEqual(resources["limits"], {"memory": "40Gi", "nvidia.com/gpu": "2"})
        self.assertEqual(resources["requests"], {"cpu": "8", "memory": "40Gi", "nvidia.com/gpu": "2"})
        self.assertEqual(self.container("--gpus", "0")["resources"]["limits"], {"memory": "24Gi"})

    def test_pods_have_no_rights(self):
        pod = self.job("--user", "2000")["template"]["spec"]
        self.assertFalse(pod["automountServiceAccountToken"])
        self.assertEqual((pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]), (True, 2000))
        context = pod["containers"][0]["securityContext"]
        self.assertEqual((context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"],
                          context["capabilities"]), (False, True, {"drop": ["ALL"]}))

    def test_every_mount_has_its_volume(self):
        for arguments, claim in (([], "runs"), (["--models-pvc", "weights"], "weights")):
            pod = self.job(*arguments)["template"]["spec"]
            mounts = {each["name"]: each for each in pod["containers"][0]["volumeMounts"]}
            volumes = {each["name"]: each for each in pod["volumes"]}
            self.assertEqual(set(mounts), set(volumes))
            self.assertEqual(volumes["models"]["persistentVolumeClaim"]["claimName"], claim)
            self.assertEqual(mounts["models"]["subPath"], "" if arguments else "models")
            self.assertEqual(volumes["runs"]["persistentVolumeClaim"]["claimName"], "runs")
            self.assertEqual(volumes["spec"]["configMap"]["name"], "fruit-sheet-v2-spec")

    def test_metrics(self):
        job = self.job("--metrics-port", "9400")
        self.assertEqual(job["template"]["metadata"]["annotations"]["prometheus.io/port"], "9400")
        container = job["template"]["spec"]["containers"][0]
        self.assertIn("--metrics-port=9400", container["args"])
        self.assertEqual(container["ports"], [{"name": "metrics", "containerPort": 9400}])

    def test_nothing_of_the_template_is_left(self):
        spec = importlib.util.spec_from_file_location("render", FOLDER / "render.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        options = module.read_arguments([str(self.spec), "--image", "i", "--shards", "1", "--runs-pvc", "r"])
        module.check(options)
        filled = module.values(options)
        text = module.render(module.TEMPLATE.read_text(), filled)
        for word in filled:
            self.assertNotIn(f"@{word}@", text.replace(json.dumps(filled["FILES"]), ""))

    def test_kubectl_reads_it(self):
        if shutil.which("kubectl") is None:
            self.skipTest("kubectl is not installed")
        folder = pathlib.Path(self.scratch.name)
        (folder / "job.yaml").write_text(self.render())
        (folder / "kustomization.yaml").write_text("resources: [job.yaml]\nnamePrefix: my-\n")
        result = subprocess.run(["kubectl", "kustomize", str(folder)], text=True, capture_output=True, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("name: my-fruit-sheet-v2\n", result.stdout)

    def test_wrong_arguments(self):
        for arguments in (["--shards", "0"], ["--memory", "lots"], ["--name", "Not_A_Name"], ["--cpu", "-1"],
                          ["--node-selector", "gpu"], ["--nonsense"]):
            self.assertIn("error", self.render(*arguments, code=2), arguments)
        for word in ("--shard=1/2", "-o", "--engine=redis", "--fresh"):
            self.assertIn(word, self.render("--", word, code=2))
        self.assertIn("No such file", self.render("--with", "/nowhere.csv", code=2))
        big = self.spec.with_name("big.csv")
        big.write_text("x" * 1_100_000)
        self.assertIn("ConfigMap", self.render("--with", str(big), code=2))


if __name__ == "__main__":
    unittest.main()
