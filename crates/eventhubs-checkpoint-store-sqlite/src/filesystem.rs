//! File systems on which the locks of SQLite cannot be relied on.

use std::path::Path;

/// Returns the name of the network file system that the file is on, or will be on.
#[cfg(target_os = "linux")]
pub(crate) fn network_file_system(path: &Path) -> Option<&'static str> {
    let existing = path.ancestors().find(|place| place.exists()).unwrap_or(Path::new("."));
    let found = rustix::fs::statfs(existing).ok()?;
    // The type is a signed word on some platforms; its magic numbers are 32 bits wide on all.
    name(u32::try_from(i128::from(found.f_type) & 0xFFFF_FFFF).ok()?)
}

/// Elsewhere nobody tells.
#[cfg(not(target_os = "linux"))]
pub(crate) fn network_file_system(_: &Path) -> Option<&'static str> {
    None
}

/// The magic numbers of `linux/magic.h` and of the file systems outside of it.
#[cfg(target_os = "linux")]
fn name(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "NFS",
        0x517B | 0xFF53_4D42 | 0xFE53_4D42 => "SMB",
        0x0102_1997 => "9P",
        0x6573_5546 => "FUSE",
        0x00C3_6400 => "Ceph",
        0x5346_414F | 0x6B41_4653 => "AFS",
        0x0BD0_0BD0 => "Lustre",
        0x7375_7245 => "Coda",
        0x786F_4256 => "vboxsf",
        _ => return None,
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_network_file_system_is_known_by_its_number() {
        assert_eq!(name(0x6969), Some("NFS"));
        assert_eq!(name(0xFF53_4D42), Some("SMB"));
        let local = [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630];
        assert!(local.into_iter().all(|magic| name(magic).is_none()), "ext4, XFS, Btrfs, tmpfs, overlay");
    }

    #[test]
    fn a_file_that_does_not_exist_yet_is_judged_by_its_folder() {
        assert_eq!(network_file_system(Path::new("/proc/self/absent/checkpoints.db")), None);
    }
}
