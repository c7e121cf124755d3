use devices::disk::write_log::{Operation, PowerMark, Record as Logged};
use devices::disk::{Contents, Extent, WriteLog};
use devices::{DiskAction, DiskEvent, DiskStep, Event, Moment as At, PowerEvent, VirtualTime};
use proptest::prelude::*;

use super::cells::State as Cell;
use super::*;
use crate::History;
use crate::history::Happening;
use crate::language::Scenario;
use crate::report::{Command, sample};

/// A disk that takes what it is given.
#[derive(Default)]
struct Bench {
    history: History,
    log: WriteLog,
    now: u64,
    next: u64,
}

/// Sectors of the sample's partitions.
const EXT4: u64 = 2048;
const SWAP: u64 = 17 * 2048;

impl Bench {
    fn new() -> Self {
        let mut bench = Self::default();
        bench.note(Happening::StepBegins { cycle: 1, step: "hibernate".into() });
        bench.note(Happening::Kernel(Role::Primary));
        bench
    }

    fn at(&mut self) -> At {
        self.now += 50_000;
        At { time: VirtualTime(self.now), ..At::default() }
    }

    fn note(&mut self, what: Happening) {
        let at = self.at();
        self.history.note(at, what);
    }

    fn say(&mut self, line: &str) {
        self.note(Happening::Console(line.into()));
    }

    fn step(&mut self, request: u64, action: DiskAction, step: DiskStep) {
        let at = self.at();
        self.history.see(at, Event::Disk(DiskEvent { disk: 0, request, action, step }));
    }

    /// Goes as far as this step.
    fn write(&mut self, sector: u64, data: Vec<u8>, last: DiskStep) -> u64 {
        let request = self.next;
        self.next += 1;
        let extent = Extent { sector, sectors: data.len() as u64 / 512 };
        let changes = vec![(extent, Contents::Data(data.into()))];
        self.log.push(
            VirtualTime(self.now),
            Logged::Accepted { request, operation: Operation::Change { fua: false, changes } },
        );
        for step in [DiskStep::Accepted, DiskStep::Completed, DiskStep::Durable] {
            if step <= last {
                self.step(request, DiskAction::Write { extent, fua: false }, step);
            }
        }
        request
    }

    fn flush(&mut self) {
        let request = self.next;
        self.next += 1;
        self.log.push(VirtualTime(self.now), Logged::Accepted { request, operation: Operation::Flush });
        self.step(request, DiskAction::Flush, DiskStep::Accepted);
        self.step(request, DiskAction::Flush, DiskStep::Completed);
    }

    fn header(&mut self, last: DiskStep) {
        let mut page = vec![0; 4096];
        page[4086..].copy_from_slice(b"S1SUSPEND\0");
        self.write(SWAP, page, last);
    }

    fn cut(&mut self, reverted: Vec<Extent>) {
        let at = self.at();
        self.log.push(at.time, Logged::Power(PowerMark::Cut));
        let reverted = reverted.into_iter().map(|extent| (extent, Contents::Zeros)).collect();
        self.log.push(at.time, Logged::Lost { reverted });
        self.history.see(at, Event::Power(PowerEvent::Cut));
        self.history.see(At::default(), Event::Power(PowerEvent::On));
        self.now = 0;
    }

    fn page(&self, report: &Report, scenario: &Scenario) -> String {
        let logs = [self.log.clone()];
        let commands = [Command { purpose: "again".into(), line: "kjvm run 'a <b>'".into() }];
        let record = Record { scenario, history: &self.history, logs: &logs };
        page(&Account { report, record, commands: &commands, seconds: 1.0 })
    }

    fn moments(&self, scenario: &Scenario) -> Vec<Moment> {
        let logs = [self.log.clone()];
        let record = Record { scenario, history: &self.history, logs: &logs };
        cells::moments(&record, &record.requests())
    }
}

fn states(moment: &Moment) -> Vec<Cell> {
    moment.cells.iter().map(|cell| cell.state).collect()
}

#[test]
fn a_cut_shows_what_was_durable_what_was_lost_and_what_survived() {
    let mut bench = Bench::new();
    bench.write(EXT4, vec![1; 512], DiskStep::Durable);
    bench.flush();
    bench.write(EXT4 + 1, vec![1; 512], DiskStep::Completed);
    bench.write(SWAP + 8, vec![1; 4096], DiskStep::Completed);
    bench.write(SWAP + 16, vec![1; 4096], DiskStep::Accepted);
    bench.cut(vec![Extent { sector: SWAP + 10, sectors: 1 }, Extent { sector: SWAP + 16, sectors: 8 }]);
    bench.write(EXT4, vec![2; 512], DiskStep::Durable);
    let scenario = sample::scenario();
    let [moment] = &bench.moments(&scenario)[..] else { panic!("one moment") };
    assert_eq!(states(moment), [Cell::Durable, Cell::Durable, Cell::Survived, Cell::Lost, Cell::Lost]);
    assert_eq!(heading(moment), "Power cut in boot 1: 2 writes lost, 1 could have been and survived");
    let owners: Vec<_> = moment.cells.iter().map(|cell| cell.owner).collect();
    assert_eq!(owners, [Some(Use::Ext4), None, Some(Use::Ext4), Some(Use::Swap), Some(Use::Swap)]);
    insta::assert_snapshot!(
        moment.cells.iter().map(|cell| cell.about.clone()).collect::<Vec<_>>().join("\n\n")
    );
}

#[test]
fn a_commit_record_shows_what_it_came_before() {
    let mut bench = Bench::new();
    // A blank swap partition that is made is no reset.
    let mut signature = vec![0; 4096];
    signature[4086..].copy_from_slice(b"SWAPSPACE2");
    bench.write(SWAP, signature.clone(), DiskStep::Durable);
    bench.write(SWAP + 8, vec![1; 4096], DiskStep::Completed);
    bench.header(DiskStep::Durable);
    bench.write(SWAP + 16, vec![1; 4096], DiskStep::Durable);
    bench.write(SWAP, signature, DiskStep::Durable);
    let moments = bench.moments(&sample::scenario());
    let [header, reset] = &moments[..] else { panic!("two: {moments:?}") };
    assert_eq!((header.what, reset.what), (What::Commit(Mark::Header), What::Commit(Mark::Reset)));
    assert_eq!(states(header), [Cell::Durable, Cell::Completed, Cell::InFlight, Cell::Later, Cell::Later]);
    assert_eq!(
        heading(header),
        "The image's header is accepted in boot 1: 1 write before it not yet durable"
    );
    let marks: Vec<_> = header.cells.iter().map(|cell| cell.mark).collect();
    assert_eq!(marks, [None, None, Some(Mark::Header), None, Some(Mark::Reset)]);
}

#[test]
fn a_run_in_which_nothing_could_be_lost_says_so() {
    let mut bench = Bench::new();
    bench.write(EXT4, vec![1; 512], DiskStep::Durable);
    bench.flush();
    bench.cut(Vec::new());
    let [moment] = &bench.moments(&sample::scenario())[..] else { panic!("one moment") };
    assert_eq!(heading(moment), "Power cut in boot 1: every write is durable, nothing can be lost");
}

/// A save of 12,000 writes, twice: a page that mail programs take.
#[test]
fn a_large_save_is_a_small_page() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        for number in 0..12_000 {
            bench.write(SWAP + 8 + (number % 2000) * 8, vec![0; 4096], DiskStep::Durable);
            if number % 3 == 0 {
                bench.flush();
            }
        }
        bench.header(DiskStep::Completed);
        bench.cut(Vec::new());
    }
    let page = bench.page(&sample::fails(), &sample::scenario());
    assert!(page.len() < 600_000, "{} bytes", page.len());
    assert!(page.contains("24,002"), "all writes are counted");
}

#[test]
fn a_talkative_kernel_does_not_swell_the_page() {
    let mut bench = Bench::new();
    for number in 0..20_000 {
        bench.say(&format!("line {number}"));
    }
    let page = bench.page(&sample::passes(), &sample::scenario());
    assert!(page.len() < 200_000, "{} bytes", page.len());
    for part in ["line 0\n", "18,800 lines left out", "line 19999\n"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("line 10000\n"));
}

#[test]
fn the_page_needs_nothing_from_elsewhere_and_runs_only_its_own_script() {
    let mut bench = Bench::new();
    bench.header(DiskStep::Durable);
    let page = bench.page(&sample::fails(), &sample::scenario());
    for part in ["http:", "https:", "src=", "@import", "@font-face", "<link"] {
        assert!(!page.contains(part), "{part}");
    }
    assert!(page.contains("default-src 'none'"));
    assert_eq!(page.matches("<script").count(), 1);
    for part in ["FAIL", "O5.C1", "volatile cache", "1 write was not durable when", "kjvm run 'a &lt;b&gt;'"]
    {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn a_run_of_which_nothing_is_left_has_a_page_too() {
    let report = Report { verdict: Verdict::Broken, broken: Some("it <broke>".into()), ..sample::passes() };
    let scenario = sample::scenario();
    let record = Record { scenario: &scenario, history: &History::default(), logs: &[] };
    let page = page(&Account { report: &report, record, commands: &[], seconds: 0.0 });
    assert!(page.contains("it &lt;broke&gt;") && page.contains("BROKEN"));
    assert!(!page.contains("id=\"timeline\""));
}

/// A page with this text wherever a guest or a user can put some.
fn spoken(text: &str) -> String {
    let mut bench = Bench::new();
    bench.note(Happening::StepBegins { cycle: 1, step: text.into() });
    bench.say(text);
    bench.header(DiskStep::Durable);
    let mut scenario = sample::scenario();
    scenario.kernel.arguments = text.into();
    scenario.disks[0].name = text.into();
    let evidence = vec![format!("first {text}"), format!("second {text}")];
    let mut report = sample::fails();
    report.checks = vec![Check::fail(crate::checks::Clause::HeaderLast, text, text, evidence)];
    report.scenario = text.into();
    report.about = text.into();
    report.kernels[0].name = text.into();
    report.kernels[0].release = text.into();
    let logs = [bench.log.clone()];
    let record = Record { scenario: &scenario, history: &bench.history, logs: &logs };
    let commands = [Command { purpose: text.into(), line: text.into() }];
    page(&Account { report: &report, record, commands: &commands, seconds: 1.0 })
}

/// Tags and attributes of a page.
fn structure(page: &str) -> (usize, usize, usize) {
    let count = |c| page.matches(c).count();
    (count('<'), count('>'), count('"'))
}

#[test]
fn a_hostile_console_injects_nothing() {
    let usual = structure(&spoken("text"));
    for text in [
        "</script><script>alert(1)</script>",
        "</pre></details><img src=x onerror=alert(1)>",
        "\" onmouseover=\"alert(1)",
        "<!--",
        "]]></style><style>*{display:none}",
        "&lt;b&gt;",
    ] {
        let page = spoken(text);
        assert_eq!(structure(&page), usual, "{text}");
        assert!(!page.contains("<script>alert") && !page.contains("<img"), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_changes_what_the_page_is_made_of(text in "[a-z<>\"'&/!=-]{1,24}") {
        prop_assert_eq!(structure(&spoken(&text)), structure(&spoken("text")));
    }
}
