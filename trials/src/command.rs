//! Programs of the system, run to their end.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Trouble;

/// Runs `program`; its standard output, or what it said when it failed.
pub fn run(program: &str, arguments: &[&str]) -> Result<String, Trouble> {
    finish(Command::new(program).args(arguments))
}

/// Runs `command` with nothing on its standard input; its standard output, or what it said when it
/// failed.
pub fn finish(command: &mut Command) -> Result<String, Trouble> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Trouble::failed(format!("cannot run {name}: {error}")))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(Trouble::failed(format!("{command:?}: {}: {said}{complaint}", output.status)))
}

/// Skips the trial unless every program is on the path.
pub fn need(programs: &[&str]) -> Result<(), Trouble> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for program in programs {
        if !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
            return Err(Trouble::Skipped(format!("{program} is not installed")));
        }
    }
    Ok(())
}

/// Skips the trial unless it runs as root.
pub fn need_root() -> Result<(), Trouble> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(Trouble::Skipped("it is for root".into()))
}

/// Skips the trial unless the device is there; `module` may bring it.
pub fn need_device(path: &str, module: &str) -> Result<(), Trouble> {
    if Path::new(path).exists() || (load(module) && Path::new(path).exists()) {
        return Ok(());
    }
    Err(Trouble::Skipped(format!("there is no {path}")))
}

/// Asks the kernel for a module; false if it has none of that name, or it is no module.
pub(crate) fn load(module: &str) -> bool {
    run("modprobe", &["-q", module]).is_ok()
}

/// Whether this process may mount and make namespaces: root in a container often may not.
#[must_use]
pub fn may_administer() -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    nix::unistd::geteuid().is_root() && mask >> CAP_SYS_ADMIN & 1 == 1
}
