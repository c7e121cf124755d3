use devices::disk::SECTOR;

use super::*;
use crate::checks::testing::{SWAP, Tale};
use crate::explore::commit::Format;
use crate::explore::cuts::cuts;
use crate::explore::family::{Depth, Family, Rank};

fn commit() -> Commit {
    let at = SWAP * SECTOR;
    Commit { disk: 0, at, format: Format::Swsusp, part: at..at + (8 << 20) }
}

/// A boots; its image goes to swap, without a flush before the header.
fn tale() -> Tale {
    let mut tale = Tale::booted();
    tale.begins("hibernate");
    tale.save_to_swap(false, false);
    tale.flush(0);
    tale.begins("resume");
    tale
}

fn told<T>(read: impl FnOnce(&Record<'_>, &[Cut]) -> T) -> T {
    tale().run(|record| read(record, &cuts(record, 0..record.entries().len())))
}

#[test]
fn a_region_is_known_by_its_name_and_others_are_refused() {
    told(|record, cuts| {
        let of = |name: &str| Region::of(name, record, cuts, &commit());
        assert_eq!(of("all").unwrap(), Region::All);
        assert_eq!(of("hibernate").unwrap(), Region::Step("hibernate".into()));
        assert_eq!(of("header").unwrap(), Region::Blocks([(0, SWAP / 8)].into()));
        let Region::Blocks(swap) = of("swap").unwrap() else { panic!("blocks") };
        assert_eq!(swap.len(), 2048);
        let wrong = of("hibernat").unwrap_err().to_string();
        assert_eq!(
            wrong,
            "no region and no step is called `hibernat`: there are header, map, journal, image, swap, ext4, all, hibernate, resume"
        );
        assert_eq!(of("journal").unwrap_err().to_string(), "nothing on these disks is `journal`");
    });
}

#[test]
fn products_leave_the_blocks_of_the_region_open_and_nothing_else() {
    told(|record, cuts| {
        let products =
            |name: &str| Region::of(name, record, cuts, &commit()).unwrap().products(record, cuts).unwrap();
        let header = products("header");
        // When mkswap's header is not durable yet, when that of the image is accepted, and when its map follows.
        assert_eq!(header.iter().map(Product::log2).collect::<Vec<_>>(), [1.0, 1.0, 1.0]);
        let last = header.last().unwrap();
        assert_eq!(last.open.keys().copied().collect::<Vec<_>>(), [(0, SWAP / 8)]);
        let whole = last.whole[0].block_hash(SWAP / 8);
        let versions = &last.open[&(0, SWAP / 8)];
        assert_eq!((versions.len(), versions[1].block_hash(SWAP / 8)), (2, whole));
        // Three pages, the header and the map, one more at each write; what is the same is there once.
        let step = products("hibernate");
        let sizes: Vec<f64> = step.iter().map(Product::log2).collect();
        assert_eq!(sizes, [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(products("all").len(), 6);
        let largest = step.last().unwrap();
        // The listed family lies within it.
        let family = Family::of(record, &cuts[largest.cut..=largest.cut], Depth::default()).unwrap();
        // By sectors: three pages of eight, and one sector of header and map each.
        assert_eq!(family.spaces.largest, 26.0);
        for state in &family.states {
            for block in &family.touched[0] {
                let has = |media: &Media| media.block_hash(*block);
                let now = state.media((0, *block)).unwrap().block_hash(*block);
                let is_open = largest.open[&(0, *block)].iter().any(|media| has(media) == now);
                let is_torn = matches!(state.rank, Rank::Torn | Rank::Seeded);
                assert!(is_open || is_torn, "{:?}", state.origins);
            }
        }
    });
}
