//! A network of its own for each node: a namespace, a veth pair to the host, a place for kube-proxy's rules.
//!
//! Inside, every node looks alike (bridge address, ports, Service range); outside, only the *slot* tells them apart, so
//! any number of checkouts run at once. Programs enter with `nsenter --net` and nothing else: `ip netns exec` would also
//! give them mounts of their own, and containerd would no longer see the volumes that the kubelet mounts.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{process, sweep};

/// The address of the node inside its network: what Pods call, and what its certificates name.
pub const NODE_ADDRESS: &str = "10.244.0.1";
/// The addresses of Pods.
pub const POD_RANGE: &str = "10.244.0.0/24";
/// The addresses of Services.
pub const SERVICE_RANGE: &str = "10.96.0.0/16";
/// The address of the `kubernetes` Service.
pub const API_SERVICE_ADDRESS: &str = "10.96.0.1";

/// Nodes that one machine can run at a time.
const SLOTS: u8 = 64;
/// Machine-wide, because slots are shared by all checkouts.
const SLOT_DIRECTORY: &str = "/run/alcove-testkit";

/// A number that is ours on this machine until dropped. Its file names the directory of the node that uses it.
#[derive(Debug)]
pub struct Slot {
    number: u8,
    file: File,
}

impl Slot {
    /// Claims the first free slot and removes what a crashed holder may have left in it.
    pub fn claim() -> Result<Self> {
        for number in 0..SLOTS {
            if let Some(mut slot) = Self::try_claim(number)? {
                sweep::sweep(number, &slot.directory()?)?;
                return Ok(slot);
            }
        }
        bail!("all {SLOTS} slots in {SLOT_DIRECTORY} are in use by other nodes")
    }

    /// Claims a certain slot, or nothing if it is in use.
    pub fn try_claim(number: u8) -> Result<Option<Self>> {
        std::fs::create_dir_all(SLOT_DIRECTORY)
            .with_context(|| format!("creating {SLOT_DIRECTORY} (are you root?)"))?;
        let path = Path::new(SLOT_DIRECTORY).join(format!("slot-{number}"));
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { number, file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
        }
    }

    /// The number of the slot.
    #[must_use]
    pub fn number(&self) -> u8 {
        self.number
    }

    /// The directory of the node that used the slot last; empty if there was none.
    pub fn directory(&mut self) -> Result<PathBuf> {
        let mut recorded = String::new();
        self.file.rewind()?;
        self.file.read_to_string(&mut recorded).context("reading the slot file")?;
        Ok(PathBuf::from(recorded))
    }

    /// Records the directory of the node that uses the slot now, for the sweep after a crash.
    pub fn record(&mut self, directory: &Path) -> Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(directory.as_os_str().as_encoded_bytes()).context("writing the slot file")
    }
}

/// The name shared by the network namespace, the host's end of the veth pair and the cgroup of a slot.
#[must_use]
pub fn slot_name(slot: u8) -> String {
    format!("alcove-{slot}")
}

/// The network namespace of a node.
#[derive(Debug, Clone)]
pub struct Network {
    slot: u8,
}

impl Network {
    /// Creates the namespace, its bridge address and its way to the host.
    pub fn create(slot: &Slot) -> Result<Self> {
        let network = Self { slot: slot.number };
        let name = slot_name(slot.number);
        ip(&format!("netns add {name}"))?;
        ip(&format!("link add {name} type veth peer name uplink netns {name}"))?;
        ip(&format!("address add {}/30 dev {name}", network.host_side()))?;
        ip(&format!("link set {name} up"))?;
        network.ip("link set lo up")?;
        network.ip(&format!("address add {}/30 dev uplink", network.address()))?;
        network.ip("link set uplink up")?;
        network.ip("link add alcove0 type bridge")?;
        // Pods are routed one by one (CNI plugin `ptp`), so that Services work between Pods without br_netfilter: the
        // bridge carries the node's address and nothing else.
        network.ip(&format!("address add {NODE_ADDRESS}/32 dev alcove0"))?;
        network.ip("link set alcove0 up")?;
        // Programs of the node itself reach Services through kube-proxy's rules, which need a route to begin with.
        network.ip(&format!("route add {SERVICE_RANGE} dev alcove0"))?;
        process::run(network.command_with("sysctl", &["-qw", "net.ipv4.ip_forward=1"]))?;
        Ok(network)
    }

    /// The address of the node as the host sees it.
    #[must_use]
    pub fn address(&self) -> String {
        format!("198.18.{}.2", self.slot)
    }

    /// The address of the host as the node sees it, where fakes that a test runs itself can listen.
    #[must_use]
    pub fn host_side(&self) -> String {
        format!("198.18.{}.1", self.slot)
    }

    /// A command that runs `program` inside the namespace, with the host's mounts.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", slot_name(self.slot))).arg("--").arg(program);
        command
    }

    /// A listener inside the namespace that this process serves: Pods reach it at [`NODE_ADDRESS`].
    pub fn listen(&self, port: u16) -> Result<TcpListener> {
        let path = format!("/run/netns/{}", slot_name(self.slot));
        // A thread of its own enters and ends; a socket stays where it was made.
        let thread = std::thread::spawn(move || -> Result<TcpListener> {
            let namespace = File::open(&path).with_context(|| format!("opening {path}"))?;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).context("entering")?;
            let listener = TcpListener::bind((NODE_ADDRESS, port)).with_context(|| format!("listening at {port}"))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        thread.join().map_err(|_panic| anyhow!("the thread that listens panicked"))?
    }

    fn command_with(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.command(program);
        command.args(arguments);
        command
    }

    fn ip(&self, arguments: &str) -> Result<String> {
        process::run(self.command_with("ip", &arguments.split(' ').collect::<Vec<_>>()))
    }
}

/// Runs `ip` on the host.
pub fn ip(arguments: &str) -> Result<String> {
    let mut command = Command::new("ip");
    command.args(arguments.split(' '));
    process::run(command)
}
