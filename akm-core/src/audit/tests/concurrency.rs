//! Appends from several threads while the journal is folded and checked.

use std::sync::atomic::AtomicBool;

use super::*;

#[test]
fn concurrent_appends_and_folds_leave_contiguous_chains() {
    const THREADS: u8 = 4;
    const EACH: u64 = 400;
    let room = Room::new();
    let (audit, chain) = room.open();
    let other = audit.open_account([8; 16], &key(5)).unwrap();
    let done = AtomicBool::new(false);
    let (folds, checks) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (audit, chain, other) = (&audit, &chain, &other);
                scope.spawn(move || {
                    for index in 0..EACH {
                        match index % 4 {
                            0 => append_system(audit),
                            1 => append(audit, other, thread),
                            _ => append(audit, chain, thread),
                        }
                    }
                })
            })
            .collect();
        let folder = scope.spawn(|| {
            let mut folds = 0;
            while !done.load(Ordering::Acquire) {
                folds += usize::from(audit.fold().unwrap() > 0);
            }
            folds
        });
        let checker = scope.spawn(|| {
            let mut checks = 0;
            while !done.load(Ordering::Acquire) {
                verdict(&audit, &chain).unwrap();
                checks += 1;
            }
            checks
        });
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Release);
        (folder.join().unwrap(), checker.join().unwrap())
    });
    // Otherwise nothing ran beside anything.
    assert!(folds > 1 && checks > 1, "{folds} folds, {checks} checks");
    let each = u64::from(THREADS) * EACH;
    assert_eq!(verdict(&audit, &chain), Ok(each * 3 / 4));
    assert_eq!(verdict(&audit, &other), Ok(each * 2 / 4));
    assert_eq!(room.store.len() as u64, each);
    assert_eq!(room.files(), ["audit.journal"]);
}
