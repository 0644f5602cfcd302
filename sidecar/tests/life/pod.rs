//! What the kubelet and the webhook give to a sidecar, without either of them.

use crate::vault::{self, Vault};
use alcove_contract::binding::{Encoding, SecretType};
use alcove_contract::configuration::{
    DataConfiguration, EntryConfiguration, EnvironmentConfiguration, GroupAccess, ItemConfiguration, LogLevel,
    MirrorSource, SecretConfiguration, SecretSource, SidecarConfiguration, SourceConfiguration, StoreConfiguration,
    VolumeConfiguration,
};
use alcove_contract::interval::RefreshInterval;
use alcove_contract::mode::Mode;
use alcove_contract::provider::ProviderConfiguration;
use alcove_contract::provider::vault::{EngineVersion, VaultConfiguration, VaultLogin};
use alcove_sidecar::publish::{Payload, PayloadFile, Publisher};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How often the sidecar refreshes.
pub(crate) const REFRESH: Duration = Duration::from_secs(1);
/// How long a condition may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// The volumes of one Pod, and the configuration of its sidecar.
pub(crate) struct Pod {
    directory: TempDir,
    configuration: SidecarConfiguration,
}

/// A running sidecar, which ends with the test.
pub(crate) struct Sidecar(Child);

/// Looks until `condition` holds.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

impl Pod {
    /// A Pod that mounts `db-creds` (`kv/app/db`) as the volume `creds` and takes one variable from it.
    pub(crate) fn new(vault: &Vault) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        for volume in ["creds", "status"] {
            fs::create_dir(directory.path().join(volume)).unwrap();
        }
        File::create(directory.path().join("termination-log")).unwrap();
        File::create(directory.path().join("token")).unwrap().write_all(vault::TOKEN.as_bytes()).unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let configuration = SidecarConfiguration {
            log_level: LogLevel::Debug,
            stores: vec![store(vault, path("token"))],
            secrets: vec![secret()],
            volumes: vec![volume(path("creds"))],
            environments: vec![environment(path("env"))],
        };
        Self { directory, configuration }
    }

    /// The same Pod, where the volume has a second source, which wins.
    pub(crate) fn with_mirror(mut self, name: &str) -> Self {
        fs::create_dir(self.path(name)).unwrap();
        let path = self.path(name).to_str().unwrap().to_owned();
        self.configuration.volumes[0].sources.push(SourceConfiguration::Mirror(MirrorSource { path }));
        self
    }

    /// The same Pod, whose login has to be made first.
    pub(crate) fn with_kubernetes_login(mut self) -> Self {
        let token_file = self.path("token").to_str().unwrap().to_owned();
        if let ProviderConfiguration::Vault(vault) = &mut self.configuration.stores[0].provider {
            vault.login = VaultLogin::Kubernetes { mount: "kubernetes".to_owned(), role: "app".to_owned(), token_file };
        }
        self
    }

    /// The same Pod, whose Secret takes one property from each of so many keys.
    pub(crate) fn with_keys(mut self, count: usize) -> Self {
        let entry = |index| {
            let reference = format!("vault:kv/app/{index}#password").parse().unwrap();
            let name = format!("password-{index}").parse().unwrap();
            (name, DataConfiguration { reference, mode: None, encoding: Encoding::Raw })
        };
        self.configuration.secrets[0].data = (0..count).map(entry).collect();
        self.configuration.volumes[0].sources = vec![SourceConfiguration::Secret(SecretSource {
            name: "db-creds".parse().unwrap(),
            items: None,
            optional: false,
        })];
        self.configuration.environments.clear();
        if let ProviderConfiguration::Vault(vault) = &mut self.configuration.stores[0].provider {
            vault.version = Some(EngineVersion::V2);
        }
        self
    }

    /// The same Pod with an `fsGroup`: its volumes are as the kubelet makes them then.
    pub(crate) fn with_fs_group(mut self, group: u32) -> Self {
        for (path, mode) in [(".", 0o755), ("creds", 0o3777), ("status", 0o3777)] {
            chown(self.path(path), None, Some(group)).unwrap();
            fs::set_permissions(self.path(path), Permissions::from_mode(mode)).unwrap();
        }
        // Env files are another matter.
        self.configuration.environments.clear();
        self.configuration.volumes[0].group_access = GroupAccess::GroupReads;
        self
    }

    /// Does what the kubelet does to a projected volume.
    pub(crate) fn project(&self, name: &str, files: &[(&str, &str)]) {
        let mut payload = Payload::default();
        for (path, content) in files {
            let file = PayloadFile { content: content.as_bytes(), mode: Mode::DEFAULT };
            payload.insert(path.parse().unwrap(), file);
        }
        let now = "2026-11-25T01:48:13Z".parse().unwrap();
        Publisher::open(&self.path(name)).unwrap().publish(&payload, now).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The content of a file; nothing, where it cannot be read at this moment.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn log(&self) -> String {
        self.read("log")
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_alcove-sidecar"));
        command.arg("run").arg("--status").arg(self.path("status"));
        command.arg("--termination-log").arg(self.path("termination-log"));
        command.env_clear().envs(self.configuration.to_variables().unwrap());
        command.stderr(File::create(self.path("log")).unwrap());
        command
    }

    pub(crate) fn start(&self) -> Sidecar {
        Sidecar::start(self.command())
    }

    /// What the startup probe says.
    pub(crate) fn is_ready(&self) -> bool {
        let mut probe = Command::new(env!("CARGO_BIN_EXE_alcove-sidecar"));
        probe.arg("ready").arg("--status").arg(self.path("status")).status().unwrap().success()
    }
}

impl Sidecar {
    pub(crate) fn start(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Lets it have so much memory of its own, and ends it where it wants more.
    pub(crate) fn limit_memory(&self, bytes: u64) {
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        prlimit(Some(Pid::from_child(&self.0)), Resource::Data, limit).unwrap();
    }

    pub(crate) fn terminate(&self) {
        let id = Pid::from_child(&self.0);
        kill_process(id, Signal::TERM).unwrap();
    }

    pub(crate) fn wait(&mut self) -> Option<i32> {
        let mut status = None;
        until("the sidecar has ended", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if self.0.try_wait().unwrap().is_none() {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }
}

fn store(vault: &Vault, token_file: String) -> StoreConfiguration {
    StoreConfiguration {
        prefix: String::new(),
        name: "vault".parse().unwrap(),
        provider: ProviderConfiguration::Vault(VaultConfiguration {
            server: vault.address(),
            namespace: None,
            version: None,
            ca_bundle: None,
            server_name: None,
            client_certificate: None,
            login: VaultLogin::Token { token_file },
        }),
    }
}

fn secret() -> SecretConfiguration {
    let entry = |property: &str| DataConfiguration {
        reference: format!("vault:kv/app/db#{property}").parse().unwrap(),
        mode: None,
        encoding: Encoding::Raw,
    };
    SecretConfiguration {
        name: "db-creds".parse().unwrap(),
        secret_type: SecretType::Opaque,
        data: [("user".parse().unwrap(), entry("username")), ("password".parse().unwrap(), entry("password"))].into(),
        data_from: Vec::new(),
        refresh_interval: RefreshInterval::Every(REFRESH),
        optional: false,
        immutable: false,
    }
}

fn volume(path: String) -> VolumeConfiguration {
    let item = |key: &str, path: &str, mode| ItemConfiguration { key: key.to_owned(), path: path.to_owned(), mode };
    let items = vec![item("password", "password", None), item("user", "conf/user", Some(Mode::OWNER_READ))];
    VolumeConfiguration {
        name: "creds".parse().unwrap(),
        path,
        default_mode: Mode::DEFAULT,
        group_access: GroupAccess::AsRequested,
        sources: vec![SourceConfiguration::Secret(SecretSource {
            name: "db-creds".parse().unwrap(),
            items: Some(items),
            optional: false,
        })],
        mount_points: Vec::new(),
    }
}

fn environment(path: String) -> EnvironmentConfiguration {
    let entry = EntryConfiguration {
        key: "E0".to_owned(),
        variable: "PASSWORD".to_owned(),
        secret: "db-creds".parse().unwrap(),
        secret_key: "password".to_owned(),
        optional: false,
    };
    EnvironmentConfiguration { container: "app".parse().unwrap(), path, entries: vec![entry] }
}
