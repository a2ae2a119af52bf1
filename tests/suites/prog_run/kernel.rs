//! The kernel's world: one program, loaded with known keys, run by `BPF_PROG_TEST_RUN`.

use aya::maps::{Array, ArrayOfMaps, Map, MapData, PerCpuArray, RingBuf};
use aya::programs::{Program as Loaded, ProgramError, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader, TestRun, TestRunOptions};
use handshake_common::abi::{COUNTERS, MAX_CPUS, name};
use handshake_common::event::Event;
use handshake_tests::bpf::create_ring;
use handshake_user::loader::OBJECT;

use crate::host::Words;
use crate::worlds::{BUCKETS, KEYS, Program};

/// Room for more events than a frame makes.
const RING_BYTES: u32 = 64 * 1024;
/// Longer than any frame a test run takes.
const OUT_BYTES: usize = 1 << 17;

/// What a program did with a frame.
pub(crate) struct Ran {
    pub(crate) verdict: u32,
    /// The frame came back as it was.
    pub(crate) unchanged: bool,
    pub(crate) events: Vec<Event>,
}

pub(crate) struct Kernel {
    ebpf: Ebpf,
    program: Program,
    ring: RingBuf<MapData>,
    counters: PerCpuArray<MapData, [u64; COUNTERS]>,
    table: Array<MapData, Words>,
    out: Vec<u8>,
}

impl Kernel {
    pub(crate) fn load(program: Program) -> Self {
        let mask = BUCKETS - 1;
        let mut ebpf = EbpfLoader::new()
            .override_global(name::TABLE_MASK, &mask, true)
            .override_global(name::KEY_LOW, &KEYS.low, true)
            .override_global(name::KEY_HIGH, &KEYS.high, true)
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
        Self {
            ring,
            counters: take(name::COUNTERS).try_into().expect("counters"),
            table: take(name::TABLE).try_into().expect("a table"),
            program,
            ebpf,
            out: vec![0; OUT_BYTES],
        }
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
        let mut events = Vec::new();
        while let Some(record) = self.ring.next() {
            events.push(Event::decode(&record).expect("an event"));
        }
        let unchanged = self.out.get(..result.data_size_out as usize) == Some(frame);
        Some(Ran { verdict: result.return_value, unchanged, events })
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

    pub(crate) fn table(&self) -> Vec<Words> {
        (0..BUCKETS).map(|index| self.table.get(&index, 0).expect("a bucket")).collect()
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
