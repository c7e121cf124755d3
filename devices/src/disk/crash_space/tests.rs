//! Against a model that knows nothing but bytes: it lists all media that may be there.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::disk::MemoryBase;

type Image = Vec<u8>;

/// A disk whose sectors are each filled with one byte.
fn disk(sectors: &[u8]) -> Media {
    let bytes: Vec<u8> = sectors.iter().flat_map(|byte| [*byte; SECTOR as usize]).collect();
    Media::over(Arc::new(MemoryBase(bytes))).unwrap()
}

/// The byte of each sector.
fn image(media: &Media) -> Image {
    let mut bytes = vec![0; media.bytes() as usize];
    media.read(0, &mut bytes).unwrap();
    let sectors = bytes.chunks(SECTOR as usize);
    sectors
        .map(
            |sector| {
                if sector.iter().all(|byte| *byte == sector[0]) { sector[0] } else { panic!("torn sector") }
            },
        )
        .collect()
}

fn change(request: u64, sector: u64, contents: Contents, sectors: u64) -> Change {
    let extent = Extent { sector, sectors };
    Change { request, extent, contents, accepted: VirtualTime(request), completed: None }
}

fn write(request: u64, sector: u64, bytes: &[u8]) -> Change {
    let data: Vec<u8> = bytes.iter().flat_map(|byte| [*byte; SECTOR as usize]).collect();
    change(request, sector, Contents::Data(data.into()), bytes.len() as u64)
}

fn space(durable: &[u8], changes: &[Change], unit: AtomicUnit, tie: Tie) -> CrashSpace {
    CrashSpace::new(disk(durable), changes.to_vec(), unit, tie).unwrap()
}

fn apply(change: &Change, image: &mut Image) {
    for place in 0..change.extent.sectors as usize {
        image[change.extent.sector as usize + place] = match &change.contents {
            Contents::Data(data) => data[place * SECTOR as usize],
            Contents::Zeros | Contents::Discarded => 0,
        };
    }
}

/// Sectors of a unit.
fn unit_range(unit: usize, size: AtomicUnit, sectors: usize) -> Range<usize> {
    let size = size.sectors() as usize;
    unit * size..(unit * size + size).min(sectors)
}

/// Any mix of what each unit was after each change.
fn mixes(durable: &Image, changes: &[Change], size: AtomicUnit) -> BTreeSet<Image> {
    let mut images = vec![durable.clone()];
    for change in changes {
        let mut next = images.last().unwrap().clone();
        apply(change, &mut next);
        images.push(next);
    }
    let mut media = BTreeSet::from([Image::new()]);
    for unit in 0..durable.len().div_ceil(size.sectors() as usize) {
        let contents: BTreeSet<&[u8]> =
            images.iter().map(|image| &image[unit_range(unit, size, durable.len())]).collect();
        media = media.iter().flat_map(|start| contents.iter().map(|rest| [start, *rest].concat())).collect();
    }
    media
}

/// Any set of writes, if each that covers a unit in part comes over the version of the unit that it was merged with.
fn subsets(durable: &Image, changes: &[Change], size: AtomicUnit) -> BTreeSet<Image> {
    let mut writes: Vec<Vec<&Change>> = Vec::new();
    for change in changes {
        match writes.last_mut() {
            Some(last) if last[0].request == change.request => last.push(change),
            _ => writes.push(vec![change]),
        }
    }
    let units = durable.len().div_ceil(size.sectors() as usize);
    let mut media = BTreeSet::new();
    'set: for set in 0..1u32 << writes.len() {
        let (mut all, mut survived) = (durable.clone(), durable.clone());
        // How often each unit changed so far, and how often it had when the newest survivor that touches it was accepted.
        let (mut newest, mut shown) = (vec![0; units], vec![0; units]);
        for (number, write) in writes.iter().enumerate() {
            let kept = set >> number & 1 == 1;
            for change in write {
                let touched: Vec<usize> = (0..units)
                    .filter(|unit| overlaps(change, unit_range(*unit, size, durable.len())))
                    .collect();
                for unit in &touched {
                    let range = unit_range(*unit, size, durable.len());
                    let covers = change.extent.sector as usize <= range.start
                        && range.end <= (change.extent.sector + change.extent.sectors) as usize;
                    if kept && !covers && newest[*unit] != shown[*unit] {
                        continue 'set;
                    }
                }
                let before = all.clone();
                apply(change, &mut all);
                if kept {
                    apply(change, &mut survived);
                }
                for unit in touched {
                    let range = unit_range(unit, size, durable.len());
                    newest[unit] += u32::from(before[range.clone()] != all[range.clone()]);
                    if kept {
                        shown[unit] = newest[unit];
                        // That is what merging means.
                        assert_eq!(survived[range.clone()], all[range]);
                    }
                }
            }
        }
        media.insert(survived);
    }
    media
}

fn overlaps(change: &Change, unit: Range<usize>) -> bool {
    let (start, end) =
        (change.extent.sector as usize, (change.extent.sector + change.extent.sectors) as usize);
    start < unit.end && unit.start < end
}

/// Few different bytes, so that contents are often equal.
fn cases() -> impl Strategy<Value = (Image, Vec<Change>, AtomicUnit)> {
    // The last unit of 4 KiB is cut short.
    let sizes = prop_oneof![Just((6usize, AtomicUnit::Sector)), Just((21, AtomicUnit::Block))];
    sizes.prop_flat_map(|(sectors, unit)| {
        let extent = (0..sectors, prop_oneof![1..=sectors, Just(8), Just(1)])
            .prop_map(move |(start, length)| (start as u64, length.min(sectors - start)));
        let one = (0u8..4, extent.clone(), prop::collection::vec(0u8..3, sectors), extent);
        let changes = prop::collection::vec(one, 0..6).prop_map(|writes| {
            let mut changes = Vec::new();
            for (number, (kind, (start, length), bytes, other)) in (10..).zip(writes) {
                match kind {
                    0 => changes
                        .extend([(start, length), other].map(|(start, length)| {
                            change(number, start, Contents::Discarded, length as u64)
                        })),
                    1 => changes.push(write(number, start, &vec![bytes[0]; length])),
                    _ => changes.push(write(number, start, &bytes[..length])),
                }
            }
            changes
        });
        (prop::collection::vec(0u8..3, sectors), changes, Just(unit))
    })
}

fn check(space: &CrashSpace, durable: &Image, model: &BTreeSet<Image>) {
    let media = |state: &CrashState| image(&space.media(state).unwrap());
    assert_eq!(media(&space.none()), *durable);
    let mut written = durable.clone();
    space.changes().iter().for_each(|change| apply(change, &mut written));
    assert_eq!(media(&space.all()), written);

    // What is reachable is what is legal, each state once, each medium once.
    let states: Vec<CrashState> = space.exhaustive().collect();
    let reached: BTreeSet<Image> = states.iter().map(media).collect();
    assert_eq!(&reached, model);
    assert_eq!(states.len(), model.len());
    assert!(space.size().is_exact());
    assert_eq!(space.size().get(), Some(model.len() as u128));
    assert_eq!(space.is_decided(), model.len() == 1);
    let keys: BTreeSet<[u8; 32]> = states.iter().map(|state| space.key(state).unwrap()).collect();
    assert_eq!(keys.len(), model.len());
    assert_eq!(image(space.durable()), *durable);

    let once: BTreeSet<&CrashState> = states.iter().collect();
    assert_eq!(once.len(), states.len());
    for state in &states {
        let text = state.to_string();
        assert_eq!(space.adopt(&text.parse().unwrap()).as_ref(), Ok(state), "{text}");
        let mut reverted = space.media(&space.all()).unwrap();
        for (extent, contents) in space.reverted(state).unwrap() {
            match contents {
                Contents::Data(data) => reverted.write(extent.sector * SECTOR, &data).unwrap(),
                _ => reverted.zero(extent.sector * SECTOR, extent.sectors * SECTOR).unwrap(),
            }
        }
        assert_eq!(image(&reverted), media(state));
        check_fates(space, durable, state);
    }

    // Orders: only legal states, none twice.
    let orders: [(&str, Vec<CrashState>); 6] = [
        ("prefixes", space.prefixes().collect()),
        ("drop one", space.drop_one().collect()),
        ("keep one", space.keep_one().collect()),
        ("pairs", space.pairs().collect()),
        ("tears", space.tears().collect()),
        ("seeded", space.seeded(7).take(50).collect()),
    ];
    for (name, order) in &orders {
        let distinct: BTreeSet<&CrashState> = order.iter().collect();
        assert_eq!(distinct.len(), order.len(), "{name}");
        assert!(distinct.is_subset(&once), "{name}");
    }
    let search: Vec<CrashState> = space.search(3).collect();
    assert_eq!(search.first(), Some(&space.all()));
    assert_eq!(search.len(), states.len());
    assert_eq!(search.iter().collect::<BTreeSet<_>>(), once);
    assert_eq!(space.search(3).take(5).collect::<Vec<_>>(), search[..search.len().min(5)]);

    let mut half = space.exhaustive();
    half.by_ref().take(states.len() / 2).for_each(drop);
    let rest: Vec<CrashState> = space.exhaustive_from(half.position()).collect();
    assert_eq!(rest, states[states.len() / 2..]);
    assert_eq!(space.exhaustive_from(u128::MAX).next(), None);
}

/// Sectors of a lost write show what was there before it; if writes survive as a whole, the kept ones make the media.
fn check_fates(space: &CrashSpace, durable: &Image, state: &CrashState) {
    let media = image(&space.media(state).unwrap());
    let fates = space.fates(state).unwrap();
    assert_eq!(fates.len(), space.writes().len());
    let mut kept = durable.clone();
    for fate in &fates {
        let changes = space.changes()[fate.write.changes.clone()].iter();
        match &fate.fate {
            Fate::Kept => changes.for_each(|change| apply(change, &mut kept)),
            Fate::Lost => {}
            Fate::Torn { lost } => {
                assert_eq!(space.tie(), Tie::Unit);
                assert!(!lost.is_empty());
                changes.for_each(|change| {
                    let mut whole = kept.clone();
                    apply(change, &mut whole);
                    for sector in 0..kept.len() {
                        if !lost
                            .iter()
                            .any(|lost| (lost.sector..lost.sector + lost.sectors).contains(&(sector as u64)))
                        {
                            kept[sector] = whole[sector];
                        }
                    }
                });
            }
        }
    }
    assert_eq!(kept, media);
    let lost = space.lost(state).unwrap();
    assert!(lost.iter().all(|fate| fate.fate != Fate::Kept));
    assert_eq!(lost.is_empty(), *state == space.all());
}

proptest! {
    #[test]
    fn units_for_themselves((durable, changes, unit) in cases()) {
        let space = space(&durable, &changes, unit, Tie::Unit);
        let model = mixes(&durable, &changes, unit);
        check(&space, &durable, &model);
        for number in 0..durable.len().div_ceil(unit.sectors() as usize) {
            let range = unit_range(number, unit, durable.len());
            let expected: BTreeSet<&[u8]> = model.iter().map(|image| &image[range.clone()]).collect();
            let versions = space.versions(number as u64).unwrap();
            let found: BTreeSet<[u8; 32]> = versions.iter().map(Version::digest).collect();
            prop_assert_eq!(found.len(), expected.len());
            prop_assert!(versions.windows(2).all(|pair| pair[0].contents != pair[1].contents));
            let open = space.open_units().find(|open| open.number() == number as u64);
            prop_assert_eq!(open.map_or(1, |open| open.contents()), expected.len());
        }
    }

    #[test]
    fn whole_writes((durable, changes, unit) in cases()) {
        let space = space(&durable, &changes, unit, Tie::Write);
        check(&space, &durable, &subsets(&durable, &changes, unit));
    }

    /// Two ways to the same media have the same key, also in spaces of different units.
    #[test]
    fn keys_are_of_media((durable, changes, _) in cases()) {
        let [one, other] = [AtomicUnit::Sector, AtomicUnit::Block].map(|unit| space(&durable, &changes, unit, Tie::Unit));
        for (a, b) in [(one.all(), other.all()), (one.none(), other.none())] {
            prop_assert_eq!(one.key(&a).unwrap(), other.key(&b).unwrap());
        }
        prop_assert_eq!(one.key(&one.all()) == one.key(&one.none()), one.all() == one.none());
    }
}

/// Text, lost requests and partly lost ones of a state.
fn told(space: &CrashSpace, state: &CrashState) -> String {
    let told = space.lost(state).unwrap().into_iter().map(|fate| match fate.fate {
        Fate::Torn { lost } => {
            let lost: Vec<String> = lost.iter().map(|e| format!("{}+{}", e.sector, e.sectors)).collect();
            format!(" #{} torn {}", fate.write.request, lost.join(","))
        }
        _ => format!(" #{}", fate.write.request),
    });
    std::iter::once(state.to_string()).chain(told).collect()
}

#[test]
fn a_write_may_be_torn_at_units_and_is_told_so() {
    let changes = [write(5, 0, &[1, 2, 3]), write(6, 8, &[4])];
    let space = space(&[0; 16], &changes, AtomicUnit::Sector, Tie::Unit);
    assert_eq!(space.size().to_string(), "16");
    assert_eq!(told(&space, &space.none()), "u:a4 #5 #6");
    assert_eq!(told(&space, &space.all()), "u:b4");
    let torn = space.adopt(&"u:ababb".parse().unwrap());
    assert!(matches!(torn, Err(CrashStateError::Foreign(_))));
    let torn = space.adopt(&"u:abab".parse().unwrap()).unwrap();
    assert_eq!(told(&space, &torn), "u:abab #5 torn 0+1,2+1");
    let tears: Vec<String> = space.tears().map(|state| told(&space, &state)).collect();
    assert_eq!(tears, ["u:ab3 #5 torn 0+1", "u:b2ab #5 torn 2+1", "u:ba2b #5 torn 1+2"]);
}

#[test]
fn orders_begin_with_what_was_accepted_last() {
    let changes = [write(1, 0, &[1]), write(2, 1, &[2]), write(9, 2, &[3])];
    for (tie, none, kept) in [(Tie::Write, 'l', 'k'), (Tie::Unit, 'a', 'b')] {
        let space = space(&[0; 8], &changes, AtomicUnit::Sector, tie);
        let texts = |states: &mut dyn Iterator<Item = CrashState>| {
            let plain = |state: CrashState| {
                let choices = state.choices().map(|choice| if choice == 0 { '-' } else { '+' });
                choices.collect::<String>()
            };
            states.map(plain).collect::<Vec<_>>()
        };
        assert_eq!(space.all().to_string().chars().nth(2), Some(kept));
        assert_eq!(space.none().to_string().chars().nth(2), Some(none));
        assert_eq!(texts(&mut space.prefixes()), ["---", "+--", "++-", "+++"]);
        assert_eq!(texts(&mut space.drop_one()), ["++-", "+-+", "-++"]);
        assert_eq!(texts(&mut space.keep_one()), ["--+", "-+-", "+--"]);
        assert_eq!(texts(&mut space.pairs()), ["+--", "--+", "-+-"]);
        assert_eq!(texts(&mut space.tears()), [""; 0]);
    }
}

/// The durable contents come back: a unit has two contents, not three, and nothing is missing if they are there.
#[test]
fn equal_contents_are_one() {
    let changes = [write(1, 0, &[1]), write(2, 0, &[0]), write(3, 1, &[0])];
    for tie in [Tie::Unit, Tie::Write] {
        let space = space(&[0; 8], &changes, AtomicUnit::Sector, tie);
        assert_eq!(space.size().get(), Some(2), "{tie:?}");
        assert_eq!(space.none(), space.all());
        assert!(space.lost(&space.none()).unwrap().is_empty());
        let other = space.exhaustive().find(|state| *state != space.all()).unwrap();
        let lost: Vec<u64> = space.lost(&other).unwrap().iter().map(|fate| fate.write.request).collect();
        assert_eq!(lost, [2]);
        let versions = space.versions(0).unwrap();
        let requests: Vec<&[u64]> = versions.iter().map(|version| version.requests.as_slice()).collect();
        assert_eq!(requests, [&[][..], &[1], &[2]]);
    }
}

/// 512 bytes of a unit of 4 KiB: the later version contains the earlier one.
#[test]
fn a_write_of_a_part_is_merged() {
    let changes = [write(1, 0, &[1]), write(2, 7, &[2])];
    let untied = space(&[0; 8], &changes, AtomicUnit::Block, Tie::Unit);
    let media: Vec<Image> = untied.exhaustive().map(|state| image(&untied.media(&state).unwrap())).collect();
    assert_eq!(media, [[0, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 2]]);
    let open = untied.open_units().next().unwrap();
    assert_eq!((open.requests(), open.extent()), (vec![1, 2], Extent { sector: 0, sectors: 8 }));

    let tied = space(&[0; 8], &changes, AtomicUnit::Block, Tie::Write);
    assert_eq!(tied.size().get(), Some(3));
    assert_eq!(tied.adopt(&"w:lk".parse().unwrap()), Err(CrashStateError::Illegal));
    // To keep the second keeps the first; to drop the first drops the second.
    assert_eq!(tied.keep_one().map(|state| state.to_string()).collect::<Vec<_>>(), ["w:k2", "w:kl"]);
    assert_eq!(tied.drop_one().map(|state| state.to_string()).collect::<Vec<_>>(), ["w:kl", "w:l2"]);
}

/// Journal blocks rewritten again and again, and very many writes over one another.
#[test]
fn sizes_do_not_explode_where_writes_cover_one_another() {
    let rewritten: Vec<Change> = (0..100).map(|n| write(n, 0, &[n as u8 + 1])).collect();
    let rewritten = space(&[0; 8], &rewritten, AtomicUnit::Sector, Tie::Write);
    assert_eq!(rewritten.size().get(), Some(101));
    assert_eq!(rewritten.exhaustive().count(), 101);

    // A chain in which each overlaps the next, too many to list: not exact, and says so; the search goes on all the same.
    let chain: Vec<Change> = (0..40).map(|n| write(n, n, &[n as u8 + 1; 2])).collect();
    let chain = space(&[0; 64], &chain, AtomicUnit::Sector, Tie::Write);
    assert_eq!(chain.size().to_string(), "at most 2^40");
    let states: Vec<CrashState> = chain.search(1).take(2000).collect();
    assert_eq!(states.iter().collect::<BTreeSet<_>>().len(), 2000);
    assert!(states.iter().all(|state| chain.adopt(state).as_ref() == Ok(state)));
    let some: BTreeSet<Image> =
        chain.exhaustive().take(500).map(|state| image(&chain.media(&state).unwrap())).collect();
    assert_eq!(some.len(), 500);
    let mut half = chain.exhaustive();
    half.nth(99);
    assert!(chain.exhaustive_from(half.position()).take(10).eq(chain.exhaustive().skip(100).take(10)));
}

#[test]
fn large_spaces_are_counted_exactly() {
    let changes: Vec<Change> = (0..38).map(|n| write(n, n, &[1])).collect();
    for tie in [Tie::Unit, Tie::Write] {
        let space = space(&[0; 40], &changes, AtomicUnit::Sector, tie);
        assert_eq!(space.size().to_string(), "2^38");
        assert_eq!(space.size().log2(), 38.0);
        let far = space.exhaustive_from((1 << 38) - 1);
        assert_eq!(far.collect::<Vec<_>>(), [space.all()]);
        assert!(!space.exhaustive().is_finished());
    }
}

#[test]
fn a_disk_with_nothing_pending_is_decided() {
    for tie in [Tie::Unit, Tie::Write] {
        let space = space(&[7; 8], &[], AtomicUnit::Sector, tie);
        assert!(space.is_decided());
        assert_eq!(space.search(0).collect::<Vec<_>>(), [space.none()]);
        assert_eq!(space.seeded(0).count(), 1);
        assert_eq!(space.prefixes().count(), 1);
    }
}

#[test]
fn changes_that_no_disk_accepts_are_refused() {
    let bad = [
        write(3, 8, &[1]),
        write(3, u64::MAX, &[1]),
        change(3, 0, Contents::Zeros, u64::MAX),
        change(3, 0, Contents::Data(vec![0; 100].into()), 0),
        change(3, 0, Contents::Data(vec![0; 512].into()), 2),
    ];
    for change in bad {
        let refused = CrashSpace::new(disk(&[0; 8]), vec![change], AtomicUnit::Sector, Tie::Unit);
        assert_eq!(refused.err(), Some(CrashSpaceError::Change { request: 3 }));
    }
    let detached: Media = serde_json::from_str(&serde_json::to_string(&disk(&[0; 8])).unwrap()).unwrap();
    let refused = CrashSpace::new(detached, vec![write(1, 0, &[1])], AtomicUnit::Sector, Tie::Unit);
    assert!(matches!(refused, Err(CrashSpaceError::Base(BaseError::Detached(_)))));
}

#[test]
fn a_state_of_another_space_is_refused() {
    let changes = [write(1, 0, &[1]), write(2, 1, &[2])];
    let [units, writes] =
        [Tie::Unit, Tie::Write].map(|tie| space(&[0; 8], &changes, AtomicUnit::Sector, tie));
    for text in ["u:b", "u:b3", "u:b4294967295b4294967295", "u:bc", "w:k2", "u:"] {
        let state = text.parse().unwrap();
        assert!(matches!(units.media(&state), Err(CrashStateError::Foreign(_))), "{text}");
        assert!(matches!(units.fates(&state), Err(CrashStateError::Foreign(_))), "{text}");
    }
    for text in ["u:b2", "w:k", "w:k3", "w:"] {
        assert!(matches!(writes.adopt(&text.parse().unwrap()), Err(CrashStateError::Foreign(_))), "{text}");
    }
}
