//! Whole lives of the program against a real Vault, on a real tmpfs.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "clippy sees tests only inside of test functions")]

#[path = "life/large_vault.rs"]
mod large_vault;
#[path = "life/pod.rs"]
mod pod;
#[path = "life/slow_vault.rs"]
mod slow_vault;
#[path = "life/vault.rs"]
mod vault;

use large_vault::LargeVault;
use pod::{Pod, Sidecar, until};
use slow_vault::SlowVault;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use vault::Vault;

/// The user of a sidecar in a Pod that says nothing.
const USER: u32 = 65532;
/// An `fsGroup`.
const GROUP: u32 = 2000;

#[test]
fn files_and_env_hold_what_vault_holds_and_follow_it() {
    let vault = Vault::start();
    vault.put("kv/app/db", &["username=u", "password=canary-1"]);
    let pod = Pod::new(&vault);
    let mut sidecar = pod.start();
    until("the sidecar is ready", || pod.is_ready());
    assert_eq!(pod.read("creds/password"), "canary-1");
    assert_eq!(pod.read("creds/conf/user"), "u");
    assert_eq!(pod.read("env"), "E0='canary-1'\n");
    let mode = fs::metadata(pod.path("creds/conf/user")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o400);
    let generation = fs::read_link(pod.path("creds/..data")).unwrap();

    vault.put("kv/app/db", &["username=u", "password=canary-2"]);
    until("the new value is there", || {
        pod.read("creds/password") == "canary-2" && pod.read("env") == "E0='canary-2'\n"
    });
    assert_ne!(fs::read_link(pod.path("creds/..data")).unwrap(), generation);

    sidecar.terminate();
    assert_eq!(sidecar.wait(), Some(0));
    assert_eq!(pod.read("creds/password"), "canary-2", "the application may outlive its sidecar");
    assert!(!pod.log().contains("canary"), "{}", pod.log());
    assert!(pod.log().contains("published volume creds (2 files)"), "{}", pod.log());
}

#[test]
fn a_pod_waits_for_a_sealed_vault_and_starts_after_unsealing() {
    let vault = Vault::start();
    vault.put("kv/app/db", &["username=u", "password=p"]);
    vault.command(&["operator", "seal"]);
    let pod = Pod::new(&vault);
    fs::File::create(pod.path("status/ready")).unwrap();
    assert!(!pod.is_ready(), "what a predecessor left is nobody's word");
    let _sidecar = pod.start();
    until("the sidecar waits", || pod.log().contains("waiting for store vault"));
    assert!(!pod.is_ready());
    vault.unseal();
    until("the sidecar is ready", || pod.is_ready());
    assert_eq!(pod.read("creds/password"), "p");
    assert!(pod.log().contains("store vault answers again"), "{}", pod.log());
}

#[test]
fn files_stay_while_vault_is_sealed_and_follow_it_afterwards() {
    let vault = Vault::start();
    vault.put("kv/app/db", &["username=u", "password=before"]);
    let pod = Pod::new(&vault);
    let _sidecar = pod.start();
    until("the sidecar is ready", || pod.is_ready());
    vault.command(&["operator", "seal"]);
    until("the sidecar notices", || pod.log().contains("waiting for store vault"));
    assert_eq!(pod.read("creds/password"), "before");
    assert!(pod.is_ready());
    vault.unseal();
    vault.put("kv/app/db", &["username=u", "password=after"]);
    until("the new value is there", || pod.read("creds/password") == "after");
}

#[test]
fn a_missing_secret_ends_the_container_and_the_reason_is_in_the_termination_log() {
    let vault = Vault::start();
    vault.put("kv/app/other", &["x=y"]);
    let pod = Pod::new(&vault);
    let mut sidecar = pod.start();
    assert_eq!(sidecar.wait(), Some(1));
    let reason = pod.read("termination-log");
    assert!(reason.contains("vault:kv/app/db"), "{reason}");
    let log = pod.log();
    let last = log.lines().last().unwrap();
    assert!(last.contains(r#""level":"ERROR""#) && last.contains("kv/app/db"), "{last}");
    assert!(!pod.is_ready());
}

#[test]
fn a_value_that_an_env_file_cannot_carry_ends_the_container_before_anything_is_published() {
    let vault = Vault::start();
    vault.put("kv/app/db", &["username=u", "password=it's"]);
    let pod = Pod::new(&vault);
    assert_eq!(pod.start().wait(), Some(1));
    let reason = pod.read("termination-log");
    assert!(reason.contains("key password of Secret db-creds holds a single quote"), "{reason}");
    assert!(!reason.contains("it's") && !pod.log().contains("it's"), "{reason}");
    assert!(!pod.path("creds/..data").exists() && !pod.path("env").exists());
}

#[test]
fn a_request_to_end_is_followed_also_while_vault_never_answers() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let pod = Pod::new(&Vault::at(silent.local_addr().unwrap().port()));
    let mut sidecar = pod.start();
    let _held_open = silent.accept().unwrap();
    sidecar.terminate();
    assert_eq!(sidecar.wait(), Some(0));
}

#[test]
fn a_login_that_is_being_made_when_the_pod_ends_is_given_back() {
    let vault = SlowVault::start();
    let pod = Pod::new(&vault.address()).with_kubernetes_login();
    let mut sidecar = pod.start();
    until("the sidecar logs in", || vault.saw("POST /v1/auth/kubernetes/login"));
    sidecar.terminate();
    until("the sidecar begins to end", || pod.log().contains("giving back the logins"));
    vault.answer_the_login();
    assert_eq!(sidecar.wait(), Some(0));
    assert!(vault.saw("POST /v1/auth/token/revoke-self"), "the token stays at Vault: {}", pod.log());
}

#[test]
fn twenty_secrets_as_large_as_a_store_may_send_fit_into_the_memory_of_the_container() {
    const KEYS: usize = 20;
    let vault = LargeVault::start();
    let pod = Pod::new(&vault.address()).with_keys(KEYS);
    let sidecar = pod.start();
    // What the webhook adds to the room for files.
    sidecar.limit_memory(64 * 1024 * 1024);
    until("the sidecar is ready", || pod.is_ready());
    assert_eq!(pod.read("creds/password-19"), "p");
    until("everything was asked for again", || vault.answers() >= 2 * KEYS);
    let status = fs::read_to_string(format!("/proc/{}/status", sidecar.id())).unwrap();
    let kept = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")).unwrap();
    assert!(kept.parse::<u64>().unwrap() < 64 * 1024, "{status}");
}

#[test]
fn what_the_kubelet_projects_beside_the_secret_is_followed() {
    let vault = Vault::start();
    vault.put("kv/app/db", &["username=u", "password=p"]);
    let pod = Pod::new(&vault).with_mirror("mirror");
    pod.project("mirror", &[("token", "t1"), ("password", "kubelet's")]);
    let _sidecar = pod.start();
    until("the sidecar is ready", || pod.is_ready());
    assert_eq!((pod.read("creds/token"), pod.read("creds/password")), ("t1".to_owned(), "kubelet's".to_owned()));
    for token in ["t2", "t3", "t4"] {
        pod.project("mirror", &[("token", token)]);
        until("the new token is there", || pod.read("creds/token") == token);
        assert_eq!(pod.read("creds/password"), "p", "what the kubelet no longer covers");
    }
}

#[test]
fn without_any_privilege_files_get_the_group_that_the_kubelet_gave_to_the_volume() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let vault = Vault::start();
    vault.put("kv/app/db", &["username=u", "password=p"]);
    let pod = Pod::new(&vault).with_fs_group(GROUP);
    let mut command = pod.command();
    command.uid(USER).gid(GROUP);
    let _sidecar = Sidecar::start(command);
    until("the sidecar is ready", || pod.is_ready());
    for (path, mode) in [("creds/..data/.", 0o2755), ("creds/conf/.", 0o2755), ("creds/conf/user", 0o440)] {
        let metadata = fs::metadata(pod.path(path)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o7777), (USER, GROUP, mode), "{path}");
    }
}

#[test]
fn variables_of_others_lead_nowhere() {
    let vault = Vault::start();
    vault.put("kv/app/db", &["username=u", "password=p"]);
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let address = format!("http://{}", trap.local_addr().unwrap());
    let pod = Pod::new(&vault);
    let mut command = pod.command();
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "VAULT_ADDR", "AWS_ENDPOINT_URL"] {
        command.env(name, &address);
    }
    command.envs([("NO_PROXY", ""), ("VAULT_TOKEN", "wrong"), ("SSL_CERT_FILE", "/nowhere")]);
    let _sidecar = Sidecar::start(command);
    until("the sidecar is ready", || pod.is_ready());
    assert!(trap.accept().is_err(), "nobody came");
}

#[test]
fn the_process_can_neither_dump_core_nor_gain_privileges() {
    let vault = Vault::at(9);
    let pod = Pod::new(&vault);
    let sidecar = pod.start();
    until("the sidecar waits", || pod.log().contains("waiting for store vault"));
    let process = format!("/proc/{}", sidecar.id());
    let status = fs::read_to_string(format!("{process}/status")).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    let limits = fs::read_to_string(format!("{process}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
}

#[test]
fn a_configuration_that_is_not_there_is_explained() {
    let vault = Vault::at(9);
    let pod = Pod::new(&vault);
    let mut command = pod.command();
    command.env_remove("ALCOVE_SIDECAR").env("ALCOVE_SECRET_0", "{}").env("ALCOVE_NEW", "1");
    assert_eq!(Sidecar::start(command).wait(), Some(1));
    let reason = pod.read("termination-log");
    assert_eq!(reason.lines().count(), 3, "{reason}");
    assert!(reason.contains("not meant to be started by hand"), "{reason}");
}
