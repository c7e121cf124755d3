use super::*;
use crate::explore::family::{Choice, Origin};
use crate::explore::judge::Class;

fn identity(seed: &str) -> Identity {
    Identity::of_parts(vec![("kjvm".into(), "1".into()), ("seed".into(), seed.into())])
}

fn lost() -> Outcome {
    Outcome::Lost("gone".into())
}

fn finding(seen: u64) -> Finding {
    let class = Class { clause: "O5.C1".into(), what: "header first".into(), step: "hibernate".into() };
    let origin = Origin::at(7, vec![Choice::Drop(1)], 1);
    Finding { class, state: 3, origin, observed: lost(), seen }
}

fn leaf<'a>(sums: &[u128], outcome: &'a Outcome) -> Done<'a> {
    let effort = Effort { executed: 1, decided: sums.len() as u64, forks: 2, instructions: 1000 };
    Done { unit: 0, sums: sums.to_vec(), outcome, effort, console: None, findings: Vec::new(), seconds: 1.5 }
}

fn store(directory: &Path) -> Store {
    let store = Store::open(directory, &identity("1")).unwrap();
    store.list([(0, 9), (1, 9)].into_iter()).unwrap();
    store
}

#[test]
fn what_was_done_is_there_when_it_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    assert!(!Store::is_in(directory.path()));
    let first = store(directory.path());
    let finding = finding(2);
    first.add(&leaf(&[1, u128::MAX], &Outcome::Cold)).unwrap();
    first.add(&Done { findings: vec![(&finding, 5)], ..leaf(&[5], &lost()) }).unwrap();
    first.add(&leaf(&[2], &Outcome::Cold)).unwrap();
    first.finish(1).unwrap();
    drop(first);
    assert!(Store::is_in(directory.path()));
    let again = store(directory.path());
    let before = again.before().unwrap();
    assert_eq!(before.states, BTreeMap::from([(Outcome::Cold, vec![1, 2, u128::MAX]), (lost(), vec![5])]));
    assert_eq!(before.effort, Effort { executed: 3, decided: 4, forks: 6, instructions: 3000 });
    assert_eq!(before.seconds, 1.5);
    assert_eq!(again.done().unwrap(), BTreeSet::from([1]));
    let seen = || number(&again.connection, "SELECT seen FROM findings").unwrap();
    assert_eq!(seen(), 2);
    let more = super::tests::finding(4);
    again.find_anew([(&more, 5)].into_iter()).unwrap();
    assert_eq!(seen(), 4);
    assert_eq!(again.conclusion().unwrap(), None);
    again.conclude("clean").unwrap();
    assert_eq!(again.conclusion().unwrap().as_deref(), Some("clean"));
}

#[test]
fn a_leaf_is_taken_in_whole_or_not_at_all_and_no_state_twice() {
    let store = Store::in_memory(&identity("1")).unwrap();
    store.list([(0, 9)].into_iter()).unwrap();
    store.add(&leaf(&[1], &Outcome::Cold)).unwrap();
    let twice = store.add(&leaf(&[2, 1], &lost())).unwrap_err();
    assert!(matches!(twice, StoreError::Ours { .. }), "{twice}");
    let before = store.before().unwrap();
    assert_eq!((before.states.len(), before.effort.executed, before.effort.decided), (1, 1, 1));
}

#[test]
fn of_another_campaign_it_says_what_differs() {
    let directory = tempfile::tempdir().unwrap();
    drop(store(directory.path()));
    let error = Store::open(directory.path(), &identity("2")).unwrap_err();
    assert!(error.is_users());
    assert!(
        error.to_string().ends_with("the results of another campaign:\n  seed: 1 there, 2 here"),
        "{error}"
    );
    // What was not known at first is known from then on.
    let run = |run: &str| {
        let parts = [("kjvm", "1"), ("seed", "1"), ("recorded run", run)];
        Identity::of_parts(parts.map(|(name, value)| (name.into(), value.into())).into())
    };
    let first = store(directory.path());
    first.identify(&run("a")).unwrap();
    first.identify(&run("a")).unwrap();
    assert!(first.identify(&run("b")).unwrap_err().to_string().contains("recorded run: a there, b here"));
}

#[test]
fn what_is_no_campaign_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(Store::NAME);
    let open = || Store::open(directory.path(), &identity("1")).unwrap_err();
    // Another database.
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE mine (a); INSERT INTO mine VALUES (1)").unwrap();
    drop(other);
    assert!(matches!(open(), StoreError::Foreign { .. }));
    assert_eq!(number(&Connection::open(&path).unwrap(), "SELECT a FROM mine").unwrap(), 1);
    // No database.
    std::fs::write(&path, "results\n".repeat(4096)).unwrap();
    assert!(matches!(open(), StoreError::Foreign { .. }));
    // That of a later kjvm.
    std::fs::remove_file(&path).unwrap();
    drop(store(directory.path()));
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let newer = open();
    assert!(newer.is_users() && newer.to_string().contains("version 99 of the format"), "{newer}");
}

#[test]
fn damage_is_seen_wherever_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(Store::NAME);
    let first = store(directory.path());
    for sum in 0..2000 {
        first.add(&leaf(&[sum], &Outcome::Cold)).unwrap();
    }
    drop(first);
    let whole = std::fs::read(&path).unwrap();
    let mut seen = 0;
    let places: Vec<usize> = (0..whole.len()).step_by(whole.len() / 12).collect();
    for at in &places {
        let mut bytes = whole.clone();
        bytes[*at..].iter_mut().take(3000).for_each(|byte| *byte = 0xa5);
        std::fs::write(&path, bytes).unwrap();
        let before = Store::open(directory.path(), &identity("1")).and_then(|store| store.before());
        match before {
            // Where nothing stands that counts, nothing is hurt.
            Ok(before) => assert_eq!(before.states[&Outcome::Cold], (0..2000).collect::<Vec<_>>(), "{at}"),
            Err(error) => {
                assert!(error.is_users(), "{at}: {error}");
                seen += 1;
            }
        }
    }
    assert!(seen > places.len() / 2, "{seen}");
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let cut_short = Store::open(directory.path(), &identity("1")).unwrap_err();
    assert!(matches!(cut_short, StoreError::Damaged { .. }), "{cut_short}");
    // Killed before a byte was written: it begins anew.
    std::fs::write(&path, []).unwrap();
    assert_eq!(store(directory.path()).before().unwrap(), Before::default());
}

/// At every moment at which the room may end: what was taken in before is there, and it goes on when there is room again.
#[test]
fn a_full_disk_takes_nothing_of_what_was_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut kept = 0;
    for pages in [24, 30, 45, 70] {
        let store = store(directory.path());
        store.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
        let error = loop {
            match store.add(&leaf(&[kept], &Outcome::Cold)) {
                Ok(()) => kept += 1,
                Err(error) => break error,
            }
        };
        assert!(error.is_hosts() && error.to_string().contains("no room on the disk"), "{error}");
        drop(store);
        let again = super::tests::store(directory.path());
        let before = again.before().unwrap();
        assert_eq!(before.states[&Outcome::Cold], (0..kept).collect::<Vec<_>>());
        assert_eq!(u128::from(before.effort.executed), kept);
    }
    assert!(kept > 500, "{kept}");
}

#[test]
fn what_is_moved_away_is_there_under_another_name() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("one.fuzz");
    for number in 1..3 {
        let store = store(&directory);
        assert!(matches!(Store::move_away(&directory), Err(StoreError::Busy { .. })));
        drop(store);
        let now = Store::move_away(&directory).unwrap();
        assert_eq!(now, parent.path().join(format!("one.fuzz.{number}")));
        assert!(Store::is_in(&now) && !directory.exists());
    }
}
