//! Images without a registry and without a container engine.
//!
//! A root file system is packed as a docker-archive, which containerd imports. Packing the same files twice gives the same
//! bytes.

mod archive;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

pub use self::archive::Recipe;
use crate::{process, state, tools};

/// The image that holds the namespaces of a Pod.
pub const PAUSE: &str = "localhost/pause:test";
/// The image of most test Pods: a shell and the usual small programs.
pub const BUSYBOX: &str = "localhost/busybox:test";

/// A packed image.
#[derive(Debug, Clone)]
pub struct Image {
    /// What Pods call it.
    pub reference: String,
    /// The docker-archive.
    pub archive: PathBuf,
}

/// How many images this process has packed: no two of them share an unfinished file.
static PACKED: AtomicU32 = AtomicU32::new(0);

/// Packs `recipe` under the name `reference`, below `localhost/`.
pub fn pack(reference: &str, recipe: &Recipe) -> Result<Image> {
    let file_name = reference.replace(['/', ':'], "_");
    let image = Image { reference: reference.to_owned(), archive: state::images().join(format!("{file_name}.tar")) };
    let bytes = recipe.archive(reference).with_context(|| format!("packing the image {reference}"))?;
    // Another run of the same checkout may be importing the old file, and another test packing the same image.
    let number = PACKED.fetch_add(1, Ordering::Relaxed);
    let unfinished = image.archive.with_extension(format!("{}.{number}.unfinished", std::process::id()));
    process::write(&unfinished, bytes)?;
    fs::rename(&unfinished, &image.archive).with_context(|| format!("renaming {}", unfinished.display()))?;
    Ok(image)
}

/// The image of a statically linked program: exactly what the Dockerfile copies for a `FROM scratch` stage.
pub fn pack_static(reference: &str, program: &Path, user: &str) -> Result<Image> {
    let name = program.file_name().and_then(|name| name.to_str()).context("the program has no name")?;
    let mut recipe = Recipe::new([format!("/{name}")], user);
    recipe.file(name, read(program)?, 0o755);
    recipe.file("etc/ssl/certs/ca-certificates.crt", read(Path::new("/etc/ssl/certs/ca-certificates.crt"))?, 0o644);
    for name in ["nsswitch.conf", "passwd"] {
        recipe.file(format!("etc/{name}"), read(&state::checkout().join("image").join(name))?, 0o644);
    }
    pack(reference, &recipe)
}

/// The pause image.
pub fn pause() -> Result<Image> {
    let mut recipe = Recipe::new(["/pause".to_owned()], "65535:65535");
    recipe.file("pause", compile("pause", include_str!("image/pause.c"))?, 0o755);
    pack(PAUSE, &recipe)
}

/// A statically linked program from one file of C; compiled once per checkout, and again when the source changes.
pub fn compile(name: &str, source: &str) -> Result<Vec<u8>> {
    let (text, program) = (state::images().join(format!("{name}.c")), state::images().join(name));
    let is_current = fs::read_to_string(&text).is_ok_and(|known| known == source) && program.exists();
    if !is_current {
        process::write(&text, source)?;
        let mut compiler = Command::new("cc");
        compiler.args(["-static", "-Os", "-s", "-Wall", "-Werror", "-o"]).arg(&program).arg(&text);
        process::run(compiler)?;
    }
    read(&program)
}

/// The busybox image.
pub fn busybox() -> Result<Image> {
    pack(BUSYBOX, &busybox_recipe()?)
}

/// Debian's static busybox with a link for each of its programs: a root file system to add files to.
pub fn busybox_recipe() -> Result<Recipe> {
    let program = tools::program("busybox").context("busybox is missing (busybox-static)")?;
    let mut list = Command::new(&program);
    list.arg("--list");
    let applets = process::run(list)?;
    let mut recipe = Recipe::new(["/bin/sh".to_owned()], "");
    recipe.file("bin/busybox", read(&program)?, 0o755);
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        recipe.link(format!("bin/{applet}"), "busybox");
    }
    recipe.directory("tmp", 0o1777);
    recipe.directory("root", 0o700);
    recipe.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n", 0o644);
    recipe.file("etc/group", "root:x:0:\nnogroup:x:65534:\n", 0o644);
    Ok(recipe)
}

/// Adds a program of this machine to a root file system, with the libraries that it is linked to.
pub fn add_program(recipe: &mut Recipe, name: &str) -> Result<()> {
    let program = tools::program(name).with_context(|| format!("{name} is missing on this machine"))?;
    let mut list = Command::new("ldd");
    list.arg(&program);
    let listed = process::run(list)?;
    // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)`, and the loader by its path alone.
    for library in listed.split_whitespace().filter_map(|word| word.strip_prefix('/')) {
        recipe.file(library, read(&Path::new("/").join(library))?, 0o755);
    }
    recipe.file(format!("bin/{name}"), read(&program)?, 0o755);
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}
