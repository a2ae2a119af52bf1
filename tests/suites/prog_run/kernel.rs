//! The kernel's world: one program, loaded with known keys, run by `BPF_PROG_TEST_RUN`.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use aya::maps::{Array, ArrayOfMaps, Map, MapData, PerCpuArray, RingBuf};
use aya::programs::{Program as Loaded, ProgramError, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader, TestRun, TestRunOptions};
use handshake_common::abi::{COUNTERS, MAX_CPUS, name, state};
use handshake_common::event::Event;
use handshake_common::sample::{Shift, fill_shift};
use handshake_tests::bpf::create_ring;
use handshake_user::evidence::{Frame, Sighting};
use handshake_user::loader::OBJECT;
use handshake_user::source::ring::FromRecord;

use crate::host::Words;
use crate::worlds::{BUCKETS, KEYS, Program};

/// Room for more events than a frame makes.
pub(crate) const RING_BYTES: u32 = 64 * 1024;
/// Longer than any frame a test run takes.
const OUT_BYTES: usize = 1 << 17;

/// What a program did with a frame.
pub(crate) struct Ran {
    pub(crate) verdict: u32,
    /// The frame came back as it was.
    pub(crate) unchanged: bool,
    pub(crate) events: Vec<Event>,
    /// What was kept of the frame, with each event.
    pub(crate) kept: Vec<Option<Box<Frame>>>,
}

pub(crate) struct Kernel {
    ebpf: Ebpf,
    program: Program,
    ring: RingBuf<MapData>,
    counters: PerCpuArray<MapData, [u64; COUNTERS]>,
    table: Array<MapData, Words>,
    state: Array<MapData, [u64; state::WORDS]>,
    out: Vec<u8>,
    bell: OwnedFd,
}

impl Kernel {
    /// Of the flows that are not pending, 1 in 2^`sample_shift` makes events.
    pub(crate) fn load(program: Program, sample_shift: Shift, keeps_frames: bool) -> Self {
        let mask = BUCKETS - 1;
        let keep_frames = u32::from(keeps_frames);
        let mut ebpf = EbpfLoader::new()
            .override_global(name::TABLE_MASK, &mask, true)
            .override_global(name::FILL_SHIFT, &fill_shift(RING_BYTES), true)
            .override_global(name::KEY_LOW, &KEYS.low, true)
            .override_global(name::KEY_HIGH, &KEYS.high, true)
            .override_global(name::KEEP_FRAMES, &keep_frames, true)
            .override_global(name::WATCHES, &1_u32, true)
            .map_max_entries(name::TABLE, BUCKETS)
            .load(OBJECT)
            .expect("the object loads (are you root?)");
        match ebpf.program_mut(program.name).expect("the program is there") {
            Loaded::Xdp(program) => Xdp::load(program),
            Loaded::SchedClassifier(program) => SchedClassifier::load(program),
            other => panic!("{other:?}"),
        }
        .expect("the verifier accepts it");
        let ring = ring_of_every_cpu(&mut ebpf);
        let mut take = |name| ebpf.take_map(name).expect("the map is there");
        let mut kernel = Self {
            counters: take(name::COUNTERS).try_into().expect("counters"),
            table: take(name::TABLE).try_into().expect("a table"),
            state: take(name::STATE).try_into().expect("two words"),
            program,
            ebpf,
            out: vec![0; OUT_BYTES],
            bell: bell(&ring),
            ring,
        };
        kernel.set_sample_shift(sample_shift);
        kernel
    }

    /// Runs the program on a frame; `None` if the kernel does not want to.
    pub(crate) fn run(&mut self, frame: &[u8]) -> Option<Ran> {
        let program = self.ebpf.program(self.program.name).expect("it was loaded");
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut self.out),
            ..TestRunOptions::default()
        };
        let result = match program {
            Loaded::Xdp(program) => program.test_run(options),
            Loaded::SchedClassifier(program) => program.test_run(options),
            other => panic!("{other:?}"),
        };
        let result = match result {
            Ok(result) => result,
            Err(ProgramError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::EINVAL) =>
            {
                return None;
            }
            Err(error) => panic!("{} bytes: {error:?}", frame.len()),
        };
        let (mut events, mut kept) = (Vec::new(), Vec::new());
        while let Some(record) = self.ring.next() {
            let Sighting { event, frame } = Sighting::from_record(&record).expect("an event");
            events.push(event);
            kept.push(frame);
        }
        let unchanged = self.out.get(..result.data_size_out as usize) == Some(frame);
        Some(Ran { verdict: result.return_value, unchanged, events, kept })
    }

    /// The counters of the program's hook. No other hook may have any.
    pub(crate) fn counters(&self) -> [u64; COUNTERS] {
        let mut sum = [0; COUNTERS];
        let row = self.counters.get(&(self.program.hook as u32), 0).expect("a row");
        for cpu in row.iter() {
            sum.iter_mut().zip(cpu).for_each(|(sum, one)| *sum += one);
        }
        sum
    }

    /// Runs the program on a frame and leaves its event in the ring.
    pub(crate) fn fill(&self, frame: &[u8]) {
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
        match self.ebpf.program(self.program.name).expect("it was loaded") {
            Loaded::Xdp(program) => program.test_run(options),
            Loaded::SchedClassifier(program) => program.test_run(options),
            other => panic!("{other:?}"),
        }
        .expect("it runs");
    }

    fn state(&self) -> [u64; state::WORDS] {
        self.state.get(&0, 0).expect("a value")
    }

    fn set_state(&mut self, word: usize, value: u64) {
        let mut words = self.state();
        words[word] = value;
        self.state.set(0, words, 0).expect("room for the value");
    }

    /// The sampling in force.
    pub(crate) fn sample_shift(&self) -> Shift {
        self.state()[state::SAMPLE_SHIFT] as Shift
    }

    /// Has another one.
    pub(crate) fn set_sample_shift(&mut self, shift: Shift) {
        self.set_state(state::SAMPLE_SHIFT, shift.into());
    }

    /// Is the reader said to be asleep?
    pub(crate) fn is_asleep(&self) -> bool {
        self.state()[state::ASLEEP] != 0
    }

    /// The reader says that it sleeps.
    pub(crate) fn sleep(&mut self) {
        self.set_state(state::ASLEEP, 1);
    }

    /// Has a program rung since this was asked last? (An epoll that reports each ring once.)
    pub(crate) fn has_rung(&self) -> bool {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: room for one event is passed with its number.
        unsafe { libc::epoll_wait(self.bell.as_raw_fd(), &raw mut event, 1, 100) == 1 }
    }

    pub(crate) fn table(&self) -> Vec<Words> {
        (0..BUCKETS).map(|index| self.bucket(index)).collect()
    }

    pub(crate) fn bucket(&self, index: u32) -> Words {
        self.table.get(&index, 0).expect("a bucket")
    }
}

/// One ring in every slot: frames are run one after the other, on any CPU.
fn ring_of_every_cpu(ebpf: &mut Ebpf) -> RingBuf<MapData> {
    let ring = create_ring(RING_BYTES).expect("a ring");
    let ring = MapData::from_fd(ring).expect("a ring");
    let map = ebpf.map_mut(name::RINGS).expect("the map is there");
    let mut slots = ArrayOfMaps::<_, MapData>::try_from(map).expect("an array of maps");
    for cpu in aya::util::online_cpus().expect("a list of CPUs") {
        if (cpu as usize) < MAX_CPUS {
            slots.set(cpu, &ring, 0).expect("room for the ring");
        }
    }
    RingBuf::try_from(Map::RingBuf(ring)).expect("a ring")
}

/// An epoll that reports a ring when it is woken, not because there is something in it.
fn bell(ring: &RingBuf<MapData>) -> OwnedFd {
    let interest = (libc::EPOLLIN | libc::EPOLLET) as u32;
    let mut event = libc::epoll_event { events: interest, u64: 0 };
    // SAFETY: the descriptor is new and ours; the event outlives the call.
    unsafe {
        let epoll = OwnedFd::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC));
        let (add, ring) = (libc::EPOLL_CTL_ADD, ring.as_raw_fd());
        assert_eq!(libc::epoll_ctl(epoll.as_raw_fd(), add, ring, &raw mut event), 0);
        epoll
    }
}
