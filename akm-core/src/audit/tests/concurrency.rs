//! Appends from several threads while the journal is folded and checked.

use super::*;

#[test]
fn concurrent_appends_and_folds_leave_contiguous_chains() {
    const THREADS: u8 = 4;
    const PHASES: usize = 8;
    const ROUNDS: u64 = 20;
    let room = Room::new();
    let (audit, chain) = room.open();
    let other = audit.open_account([8; 16], &key(5)).unwrap();
    let checks = AtomicUsize::new(0);
    let write = |thread: u8| {
        for phase in 0..PHASES {
            for _ in 0..ROUNDS {
                append_system(&audit);
                append(&audit, &other, thread);
                append(&audit, &chain, thread);
                append(&audit, &chain, thread);
            }
            // No thread is ahead of the checks by more than a phase, so that they do run beside each other.
            while checks.load(Ordering::Acquire) < phase {
                std::thread::yield_now();
            }
        }
    };
    std::thread::scope(|scope| {
        let write = &write;
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || write(thread)))
            .collect();
        while !writers.iter().all(|writer| writer.is_finished()) {
            audit.fold().unwrap();
            let chain = [&chain, &other][checks.load(Ordering::Relaxed) % 2];
            verdict(&audit, chain).unwrap();
            checks.fetch_add(1, Ordering::Release);
        }
    });
    let rounds = u64::from(THREADS) * PHASES as u64 * ROUNDS;
    assert!(checks.into_inner() >= PHASES - 1);
    assert_eq!(verdict(&audit, &chain), Ok(rounds * 3));
    assert_eq!(verdict(&audit, &other), Ok(rounds * 2));
    assert_eq!(room.store.len() as u64, rounds * 4);
    assert_eq!(room.files(), ["audit.journal"]);
}
