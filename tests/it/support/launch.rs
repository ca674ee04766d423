//! Ways to start the server other than plainly: through a program that replaces itself by it.

use std::process::Command;

/// `command` as the last arguments of `wrapper`, which must replace itself by it (`exec`), so that
/// the process id stays.
pub fn through(wrapper: &[&str], command: &Command) -> Command {
    let (first, rest) = wrapper.split_first().expect("a wrapper");
    let mut outer = Command::new(first);
    outer.args(rest).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer
}

/// The command without the privileges of root, as whom the machine would not mind permissions: it
/// runs with the same user id, so that the files are still its own.
pub fn unprivileged(command: &Command) -> Command {
    if rustix::process::geteuid().is_root() {
        // No capability is left to a program that is started with none to have.
        return through(&["setpriv", "--bounding-set=-all", "--inh-caps=-all"], command);
    }
    through(&["env"], command)
}

/// The command under limits of the shell's `ulimit`, such as `-n 100`.
pub fn limited(limit: &str, command: &Command) -> Command {
    through(&["sh", "-c", &format!("ulimit {limit} && exec \"$@\""), "sh"], command)
}
