//! The system calls that the agent, and what it starts, never needs.

use std::collections::BTreeMap;

use nix::libc::{self, c_long};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

/// Looking into, or steering, another process. The agent learns who asks from `/proc`, which is none of these.
const OTHERS: &[c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_perf_event_open,
];
/// Roads into the kernel that exploits take.
const KERNEL: &[c_long] = &[
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_quotactl,
    libc::SYS_acct,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_personality,
    libc::SYS_nfsservctl,
];
/// Another view of the file system, or another set of privileges.
const VIEWS: &[c_long] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
];
/// The clock: waits and codes run by it.
const CLOCK: &[c_long] = &[
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
];
#[cfg(target_arch = "x86_64")]
const PROCESSOR: &[c_long] = &[
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_modify_ldt,
    libc::SYS_kexec_file_load,
];
#[cfg(not(target_arch = "x86_64"))]
const PROCESSOR: &[c_long] = &[];
/// Refused as if they did not exist, so that whoever calls them takes the older way: io_uring does work past this
/// filter, and what `clone3` is asked for stands in memory that a filter cannot read.
const ABSENT: &[c_long] = &[
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_clone3,
];

/// Namespaces that `clone` would make.
const NEW_NAMESPACES: u64 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP) as u64;
/// The families of sockets that are used: its own, providers, and how the system's resolver asks for addresses.
const FAMILIES: [i32; 4] = [
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
];
/// The x32 interface of x86-64 has the same calls under other numbers.
const X32: c_long = 0x4000_0000;

/// Refuses them to this thread, to those it starts and to what they run. Called before a second thread exists. Says
/// whether the kernel took it.
pub fn deny() -> bool {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else {
        return false;
    };
    let filter = |rules, errno: i32| -> Option<BpfProgram> {
        let action = SeccompAction::Errno(u32::try_from(errno).ok()?);
        SeccompFilter::new(rules, SeccompAction::Allow, action, arch)
            .ok()?
            .try_into()
            .ok()
    };
    let refused = refused().and_then(|rules| filter(rules, libc::EPERM));
    let absent = filter(
        everywhere(ABSENT.iter().map(|call| (*call, vec![]))),
        libc::ENOSYS,
    );
    let (Some(refused), Some(absent)) = (refused, absent) else {
        return false;
    };
    apply_filter(&refused).is_ok() && apply_filter(&absent).is_ok()
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn refused() -> Option<Rules> {
    let always = [OTHERS, KERNEL, VIEWS, CLOCK, PROCESSOR].concat();
    let mut rules: Vec<(c_long, Vec<SeccompRule>)> =
        always.into_iter().map(|call| (call, vec![])).collect();
    let when =
        |index, op, value| SeccompCondition::new(index, SeccompCmpArgLen::Dword, op, value).ok();
    // A flag that makes a namespace: one rule for each, as a filter knows "equals under a mask" only.
    let mut namespaces = Vec::new();
    for bit in (0..32)
        .map(|bit| 1u64 << bit)
        .filter(|bit| NEW_NAMESPACES & bit != 0)
    {
        let set = when(0, SeccompCmpOp::MaskedEq(bit), bit)?;
        namespaces.push(SeccompRule::new(vec![set]).ok()?);
    }
    rules.push((libc::SYS_clone, namespaces));
    let mut families = Vec::new();
    for family in FAMILIES {
        families.push(when(0, SeccompCmpOp::Ne, u64::try_from(family).ok()?)?);
    }
    rules.push((libc::SYS_socket, vec![SeccompRule::new(families).ok()?]));
    // Undoing what `harden` did, and letting somebody trace this process after all.
    let option = |option: i32| when(0, SeccompCmpOp::Eq, u64::try_from(option).ok()?);
    let dumpable = vec![
        option(libc::PR_SET_DUMPABLE)?,
        when(1, SeccompCmpOp::Ne, 0)?,
    ];
    let tracer = vec![when(0, SeccompCmpOp::Eq, u64::from(PR_SET_PTRACER))?];
    rules.push((
        libc::SYS_prctl,
        vec![
            SeccompRule::new(dumpable).ok()?,
            SeccompRule::new(tracer).ok()?,
        ],
    ));
    // Typing into the terminal that it was started from.
    let mut typing = Vec::new();
    for request in [libc::TIOCSTI, libc::TIOCLINUX] {
        typing.push(SeccompRule::new(vec![when(1, SeccompCmpOp::Eq, request)?]).ok()?);
    }
    rules.push((libc::SYS_ioctl, typing));
    Some(everywhere(rules))
}

/// Yama's name for "this one may trace me"; the number spells it.
const PR_SET_PTRACER: u32 = 0x5961_6d61;

/// Under each number that a call has.
fn everywhere(rules: impl IntoIterator<Item = (c_long, Vec<SeccompRule>)>) -> Rules {
    let mut all = Rules::new();
    for (call, conditions) in rules {
        if cfg!(target_arch = "x86_64") {
            all.insert(call | X32, conditions.clone());
        }
        all.insert(call, conditions);
    }
    all
}
