//! Which cgroup hierarchies this machine has, and where this process is in them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Controllers of a v1 hierarchy; empty for v2 and for named ones.
    pub(crate) controllers: Vec<String>,
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
    /// This process's own directory.
    pub(crate) own: PathBuf,
}

impl Hierarchy {
    /// Whether it has the v1 controller.
    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|known| known == controller)
    }
}

/// What the machine offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One unified tree.
    V2(Hierarchy),
    /// A tree per controller; where a v2 tree is mounted beside them.
    V1(Vec<Hierarchy>, Option<PathBuf>),
    /// Nothing that can be used.
    None,
}

/// Reads the layout from `/proc`.
pub(crate) fn detect() -> io::Result<Layout> {
    Ok(parse(
        &fs::read_to_string("/proc/self/mountinfo")?,
        &fs::read_to_string("/proc/self/cgroup")?,
    ))
}

fn parse(mountinfo: &str, membership: &str) -> Layout {
    let mut v1: Vec<Hierarchy> = Vec::new();
    let mut v2 = None;
    for line in mountinfo.lines() {
        let Some((place, kind)) = line.split_once(" - ") else {
            continue;
        };
        let place: Vec<&str> = place.split(' ').collect();
        let kind: Vec<&str> = kind.split(' ').collect();
        let (Some(root), Some(mount)) = (place.get(3), place.get(4).map(|path| unescape(path)))
        else {
            continue;
        };
        match (kind.first(), kind.get(2)) {
            (Some(&"cgroup"), Some(options)) => {
                let Some((names, path)) = member(membership, options) else {
                    continue;
                };
                let own = own(&mount, root, path);
                if !v1.iter().any(|known| known.controllers == names) {
                    v1.push(Hierarchy {
                        controllers: names,
                        mount,
                        own,
                    });
                }
            }
            (Some(&"cgroup2"), _) if v2.is_none() => {
                let path = membership
                    .lines()
                    .find_map(|line| line.strip_prefix("0::"))
                    .unwrap_or("/");
                v2 = Some(Hierarchy {
                    controllers: Vec::new(),
                    own: own(&mount, root, path),
                    mount,
                });
            }
            _ => {}
        }
    }
    match v2 {
        _ if v1
            .iter()
            .any(|hierarchy| hierarchy.has("memory") || hierarchy.has("devices")) =>
        {
            Layout::V1(v1, v2.map(|hierarchy| hierarchy.mount))
        }
        Some(hierarchy) => Layout::V2(hierarchy),
        None => Layout::None,
    }
}

/// The line of `/proc/self/cgroup` for a v1 mount with these options: its controllers and our path.
fn member<'a>(membership: &'a str, options: &str) -> Option<(Vec<String>, &'a str)> {
    membership.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let names: Vec<String> = fields.next()?.split(',').map(str::to_owned).collect();
        let path = fields.next()?;
        let mounted = |name: &String| options.split(',').any(|option| option == name);
        (names.iter().all(|name| !name.is_empty()) && names.iter().all(mounted))
            .then_some((names, path))
    })
}

/// A path in the hierarchy as seen through a mount of its directory `root`.
fn own(mount: &Path, root: &str, path: &str) -> PathBuf {
    let inside = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
    mount.join(inside.strip_prefix("/").unwrap_or(inside))
}

/// mountinfo writes blanks and backslashes as `\040`.
fn unescape(path: &str) -> PathBuf {
    PathBuf::from(
        path.replace("\\040", " ")
            .replace("\\011", "\t")
            .replace("\\134", "\\"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchy(controllers: &[&str], mount: &str, own: &str) -> Hierarchy {
        Hierarchy {
            controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
            mount: PathBuf::from(mount),
            own: PathBuf::from(own),
        }
    }

    #[test]
    fn layouts_of_real_machines() {
        let v2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(
            parse(v2, "0::/user.slice/a.scope\n"),
            Layout::V2(hierarchy(
                &[],
                "/sys/fs/cgroup",
                "/sys/fs/cgroup/user.slice/a.scope"
            ))
        );
        let v1 = "1 2 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                  2 1 0:29 /docker/7 /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                  3 1 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                  4 1 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                  5 1 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let membership = "3:memory:/jobs/1\n2:cpu,cpuacct:/docker/7/x\n1:name=systemd:/\n0::/\n";
        assert_eq!(
            parse(v1, membership),
            Layout::V1(
                vec![
                    hierarchy(
                        &["cpu", "cpuacct"],
                        "/sys/fs/cgroup/cpu,cpuacct",
                        "/sys/fs/cgroup/cpu,cpuacct/x"
                    ),
                    hierarchy(
                        &["memory"],
                        "/sys/fs/cgroup/memory",
                        "/sys/fs/cgroup/memory/jobs/1"
                    ),
                    hierarchy(
                        &["name=systemd"],
                        "/sys/fs/cgroup/systemd",
                        "/sys/fs/cgroup/systemd"
                    ),
                ],
                Some(PathBuf::from("/sys/fs/cgroup/unified"))
            )
        );
        assert_eq!(parse("", ""), Layout::None);
    }
}
