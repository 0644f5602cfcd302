//! Golden cases: folders whose name is a claim.
//!
//! | file | holds |
//! |---|---|
//! | `pod.yaml` | the Pod as its author wrote it |
//! | `resources.yaml` | what stands in the cluster beside `cases/base.yaml` |
//! | `settings.yaml` | what the administrator decided |
//! | `patch.json`, `patched.yaml` | what becomes of the Pod |
//! | `refusal.txt`, `skip.txt`, `warnings.txt` | what its author is told |
//! | `between.json` | what another webhook does to the patched Pod: a JSON patch |
//! | `again.json`, `again.yaml`, `again.txt` | what the second call makes of that, and the warnings with it |
//! | `final.json` → `verdict.txt` | what other webhooks do last, and what the validating side says |
//! | `update.json` → `verdict.txt` | what somebody does to the running Pod, and what the validating side says |
//! | `later.yaml` | what has come into the cluster before that |
//!
//! `UPDATE=1 cargo test -p alcove-injection` writes what is expected anew: read the difference before you commit it.

use crate::cluster;
use alcove_injection::effort::MOST_STEPS;
use alcove_injection::{Catalog, Context, Decision, Plan, Pod, Reason, Settings, Verdict, decide, validate};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// The namespace of the Pods that state none.
const NAMESPACE: &str = "t";

#[test]
fn every_case_is_as_its_folder_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let base = fs::read_to_string(root.join("base.yaml")).unwrap();
    let mut folders: Vec<PathBuf> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    assert!(folders.len() >= 40, "only {} cases", folders.len());
    let failures: Vec<String> = folders.into_iter().flat_map(|folder| Case::open(folder, &base).failures()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

struct Case {
    folder: PathBuf,
    catalog: Catalog,
    settings: Settings,
    failures: Vec<String>,
    written: Vec<&'static str>,
}

/// The files that hold what is expected.
const EXPECTED: [&str; 9] = [
    "patch.json",
    "patched.yaml",
    "refusal.txt",
    "skip.txt",
    "warnings.txt",
    "again.json",
    "again.yaml",
    "again.txt",
    "verdict.txt",
];

impl Case {
    fn open(folder: PathBuf, base: &str) -> Self {
        let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
        let mut catalog = Catalog::default();
        cluster::apply(&mut catalog, base);
        cluster::apply(&mut catalog, &read("resources.yaml").unwrap_or_default());
        let stated = read("settings.yaml").map_or(Value::Null, |yaml| cluster::documents(&yaml).remove(0));
        let settings = cluster::settings(&stated);
        Self { folder, catalog, settings, failures: Vec::new(), written: Vec::new() }
    }

    fn failures(mut self) -> Vec<String> {
        let pod = self.document("pod.yaml").expect("every case has a pod.yaml");
        match self.decide(&pod) {
            Decision::Inject(plan) => self.injected(&pod, &plan),
            Decision::Skip(skip) => {
                self.expect("skip.txt", &format!("{}\n", skip.reason.as_str()));
                self.warned(&skip.warnings);
                self.left_alone(&pod);
                self.judged(&pod);
            }
            Decision::Deny(refusal) => {
                let (reason, status) = (refusal.reason.as_str(), refusal.reason.status_code());
                self.expect("refusal.txt", &format!("{status} {reason}\n{refusal}\n"));
                self.warned(&refusal.warnings);
            }
        }
        for name in EXPECTED {
            if !self.written.contains(&name) && self.folder.join(name).exists() {
                self.failures
                    .push(format!("{}: {name} is there, and nothing of the kind came out", self.folder.display()));
            }
        }
        self.failures
    }

    fn injected(&mut self, pod: &Value, plan: &Plan) {
        let patched = patched(pod, &serde_json::to_value(&plan.patch).unwrap());
        self.expect("patch.json", &pretty(&plan.patch));
        self.expect("patched.yaml", &yaml(&patched));
        self.warned(&plan.warnings);
        self.settled(&patched);
        if let Some(between) = self.document("between.json") {
            self.called_again(&patched, &between);
        } else {
            self.judged(&patched);
        }
    }

    fn called_again(&mut self, first: &Value, between: &Value) {
        let changed = patched(first, between);
        match self.decide(&changed) {
            Decision::Inject(plan) => {
                let again = patched(&changed, &serde_json::to_value(&plan.patch).unwrap());
                self.expect("again.json", &pretty(&plan.patch));
                self.expect("again.yaml", &yaml(&again));
                if !plan.warnings.is_empty() {
                    self.expect("again.txt", &format!("{}\n", plan.warnings.join("\n")));
                }
                self.settled(&again);
            }
            Decision::Skip(skip) => self.expect("skip.txt", &format!("{}\n", skip.reason.as_str())),
            Decision::Deny(refusal) => self.expect("refusal.txt", &format!("{refusal}\n")),
        }
    }

    /// What was changed once is not changed again, and the validating side has nothing against it.
    fn settled(&mut self, patched: &Value) {
        let folder = self.folder.display().to_string();
        match self.decide(patched) {
            Decision::Inject(plan) if plan.patch.is_empty() => {}
            Decision::Skip(skip) if skip.reason == Reason::NothingBound => {}
            other => self.failures.push(format!("{folder}: the second call is not content: {other:?}")),
        }
        self.left_alone(patched);
    }

    /// What nobody has changed since is admitted.
    fn left_alone(&mut self, document: &Value) {
        let is_last = ["between.json", "final.json"].iter().all(|name| !self.folder.join(name).exists());
        if let (true, Verdict::Deny(refusal)) = (is_last, self.validate(None, document)) {
            let folder = self.folder.display();
            self.failures.push(format!("{folder}: the validating side refuses what Alcove has left: {refusal}"));
        }
    }

    /// What the validating side says to the last Pod, or to a change of it.
    fn judged(&mut self, admitted: &Value) {
        let verdict = if let Some(last) = self.document("final.json") {
            self.validate(None, &patched(admitted, &last))
        } else if let Some(update) = self.document("update.json") {
            let later = fs::read_to_string(self.folder.join("later.yaml")).unwrap_or_default();
            cluster::apply(&mut self.catalog, &later);
            self.validate(Some(admitted), &patched(admitted, &update))
        } else {
            return;
        };
        let text = match verdict {
            Verdict::Allow(allowance) => {
                let warnings = allowance.warnings.iter().map(|warning| format!("warning: {warning}\n"));
                format!("allowed\n{}", warnings.collect::<String>())
            }
            Verdict::Deny(refusal) => format!("{refusal}\n"),
        };
        self.expect("verdict.txt", &text);
    }

    fn decide(&self, document: &Value) -> Decision {
        decide(&pod(document), &Context { catalog: &self.catalog, settings: &self.settings, most_steps: MOST_STEPS })
    }

    fn validate(&self, old: Option<&Value>, new: &Value) -> Verdict {
        let old = old.map(pod);
        validate(
            old.as_ref(),
            &pod(new),
            &Context { catalog: &self.catalog, settings: &self.settings, most_steps: MOST_STEPS },
        )
    }

    fn warned(&mut self, warnings: &[String]) {
        if !warnings.is_empty() {
            self.expect("warnings.txt", &format!("{}\n", warnings.join("\n")));
        }
    }

    fn document(&self, name: &str) -> Option<Value> {
        let text = fs::read_to_string(self.folder.join(name)).ok()?;
        Some(cluster::documents(&text).remove(0))
    }

    #[expect(clippy::disallowed_methods, reason = "golden files need no atomic writing")]
    fn expect(&mut self, name: &'static str, actual: &str) {
        self.written.push(name);
        let path = self.folder.join(name);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, actual).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if expected != actual {
            self.failures.push(format!("{}\n--- expected\n{expected}\n--- actual\n{actual}", path.display()));
        }
    }
}

fn pod(document: &Value) -> Pod {
    let namespace = document["metadata"]["namespace"].as_str().unwrap_or(NAMESPACE);
    Pod::new(document.clone(), namespace).unwrap()
}

fn patched(document: &Value, patch: &Value) -> Value {
    let patch: json_patch::Patch = serde_json::from_value(patch.clone()).unwrap();
    let mut patched = document.clone();
    json_patch::patch(&mut patched, &patch).unwrap_or_else(|error| panic!("{error}"));
    patched
}

fn pretty(value: &impl serde::Serialize) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).unwrap())
}

fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap()
}
