use super::*;
use crate::deadline;
use crate::lane_record::JOBS_TO_BE_KNOWN;

const PLACES: usize = 2;
const RELIEF: Duration = Duration::from_millis(20);
const QUICK: Duration = Duration::from_micros(100);
const SLOW: Duration = Duration::from_millis(50);

/// A queue at a moment that the test moves.
struct Scene {
    queue: Queue,
    now: Instant,
    threads: i32,
}

impl Scene {
    fn new() -> Self {
        Self {
            queue: Queue::new(PLACES, RELIEF),
            now: deadline::now(),
            threads: 0,
        }
    }

    fn push(&mut self, lane: &Arc<LaneRecord>) {
        self.queue.push(Arc::clone(lane), Box::new(|| ())).unwrap();
    }

    /// Has a new thread take a job: its id and whose pace changes for it.
    fn take(&mut self, role: Role) -> Option<(u64, Option<Slowed>)> {
        self.threads += 1;
        let thread = ThreadId::for_testing(self.threads);
        let taken = self.queue.take(role, thread, self.now, Duration::ZERO)?;
        Some((taken.id, taken.slowed))
    }

    /// A job of `lane` that runs.
    fn run(&mut self, lane: &Arc<LaneRecord>) -> u64 {
        self.push(lane);
        self.take(lane.standing().role()).unwrap().0
    }

    fn end(&mut self, id: u64, processor: Duration) {
        self.now += processor;
        self.queue.end(id, self.now, processor);
    }

    /// A lane that had some jobs done, which took `each`.
    fn lane_of(&mut self, each: Duration) -> Arc<LaneRecord> {
        let lane = self.queue.lane();
        for _ in 0..JOBS_TO_BE_KNOWN {
            let id = self.run(&lane);
            self.end(id, each);
        }
        lane
    }

    /// Relieves the job that is late, if any is, and says which and how. All of them have had much
    /// of the processor.
    fn relieve(&mut self, role: Role) -> Option<(u64, Pace)> {
        let id = self.queue.next_late(role, self.now, |_| SLOW)?;
        Some((id, self.queue.relieve(id)?.pace))
    }
}

#[test]
fn the_lane_that_has_used_the_least_goes_first() {
    let mut scene = Scene::new();
    let greedy = scene.lane_of(QUICK);
    let modest = scene.lane_of(QUICK);
    greedy.uses(SLOW);
    scene.push(&greedy);
    scene.push(&modest);

    let (first, _) = scene.take(Role::Known).unwrap();

    assert!(Arc::ptr_eq(&scene.queue.running[&first].lane, &modest));
}

#[test]
fn unknown_lanes_have_threads_of_their_own() {
    let mut scene = Scene::new();
    let honest = scene.lane_of(QUICK);
    let new = scene.queue.lane();
    scene.push(&new);
    assert_eq!(scene.queue.due_count(Role::Known), 0);
    assert!(scene.take(Role::Known).is_none());

    scene.push(&honest);

    assert_eq!(scene.queue.due_count(Role::Unknown), 1);
    let (first, _) = scene.take(Role::Known).unwrap();
    assert!(Arc::ptr_eq(&scene.queue.running[&first].lane, &honest));
    let (second, _) = scene.take(Role::Unknown).unwrap();
    assert!(Arc::ptr_eq(&scene.queue.running[&second].lane, &new));
}

#[test]
fn unknown_lanes_that_run_on_have_the_free_places_and_then_spare_time() {
    let mut scene = Scene::new();
    let loops: Vec<_> = (0..4).map(|_| scene.queue.lane()).collect();
    for lane in &loops {
        scene.run(lane);
    }
    let waiting = scene.queue.lane();
    scene.push(&waiting);
    scene.now += RELIEF;

    let paces: Vec<_> = std::iter::from_fn(|| scene.relieve(Role::Unknown))
        .map(|(_, pace)| pace)
        .collect();

    assert_eq!(paces, [Pace::Low, Pace::Low, Pace::Spare, Pace::Spare]);
}

#[test]
fn a_quick_lane_is_given_its_time_however_many_wait() {
    let mut scene = Scene::new();
    let honest = scene.lane_of(QUICK);
    let id = scene.run(&honest);
    for _ in 0..100 {
        let waiting = scene.queue.lane();
        scene.push(&waiting);
    }
    scene.now += RELIEF - QUICK;
    assert_eq!(scene.relieve(Role::Known), None);

    scene.now += QUICK;

    assert_eq!(scene.relieve(Role::Known), Some((id, Pace::Low)));
}

#[test]
fn unknown_lanes_are_relieved_the_sooner_the_more_wait() {
    let mut scene = Scene::new();
    let looping = scene.queue.lane();
    let id = scene.run(&looping);
    for _ in 0..WAITING_TO_HALVE {
        let waiting = scene.queue.lane();
        scene.push(&waiting);
    }
    scene.now += RELIEF / 2;

    assert_eq!(scene.relieve(Role::Unknown), Some((id, Pace::Low)));
}

#[test]
fn a_quick_lane_that_the_machine_keeps_waiting_is_not_slowed_down() {
    let mut scene = Scene::new();
    let honest = scene.lane_of(QUICK);
    scene.run(&honest);
    let waiting = scene.queue.lane();
    scene.push(&waiting);
    scene.now += 10 * RELIEF;

    assert_eq!(
        scene.queue.next_late(Role::Known, scene.now, |_| QUICK),
        None
    );
}

#[test]
fn a_slow_lane_takes_the_place_of_a_loop_and_nobody_takes_it_back() {
    let mut scene = Scene::new();
    let slow = scene.lane_of(SLOW);
    let loops: Vec<_> = (0..3).map(|_| scene.queue.lane()).collect();
    let ids: Vec<_> = loops.iter().map(|lane| scene.run(lane)).collect();
    let waiting = scene.queue.lane();
    scene.push(&waiting);
    scene.now += RELIEF;
    assert_eq!(scene.relieve(Role::Unknown), Some((ids[0], Pace::Low)));
    assert_eq!(scene.relieve(Role::Unknown), Some((ids[1], Pace::Low)));
    scene.push(&slow);
    let (id, slowed) = scene.take(Role::Known).unwrap();
    let slowed = slowed.unwrap();

    assert_eq!(slowed.pace, Pace::Spare);
    assert_eq!(slowed.thread, scene.queue.running[&ids[0]].thread);
    assert_eq!(scene.relieve(Role::Unknown), Some((ids[2], Pace::Spare)));
    assert_eq!(scene.relieve(Role::Known), Some((id, Pace::Low)));
}

#[test]
fn slow_lanes_wait_for_each_other_and_not_for_threads() {
    let mut scene = Scene::new();
    let slow: Vec<_> = (0..=PLACES).map(|_| scene.lane_of(SLOW)).collect();
    for lane in &slow {
        scene.push(lane);
    }
    let (first, _) = scene.take(Role::Known).unwrap();
    scene.take(Role::Known).unwrap();
    assert_eq!(scene.queue.due_count(Role::Known), 0);
    assert!(scene.take(Role::Known).is_none());

    scene.end(first, SLOW);

    assert_eq!(scene.queue.due_count(Role::Known), 1);
    assert!(scene.take(Role::Known).is_some());
}

#[test]
fn a_slow_lane_is_quick_again_once_its_job_was() {
    let mut scene = Scene::new();
    let lane = scene.lane_of(SLOW);
    assert_eq!(lane.standing(), Standing::Slow);

    let id = scene.run(&lane);
    scene.end(id, QUICK);

    assert_eq!(lane.standing(), Standing::Quick);
}

#[test]
fn whoever_is_kept_waiting_is_not_slow() {
    let mut scene = Scene::new();
    let lane = scene.queue.lane();
    let id = scene.run(&lane);

    scene.now += SLOW;
    scene.end(id, QUICK);

    assert_eq!(lane.standing(), Standing::Unknown);
}

#[test]
fn a_compilation_takes_no_place_and_is_never_left_to_spare_time() {
    let mut scene = Scene::new();
    let lanes: Vec<_> = (0..=PLACES).map(|_| scene.queue.lane()).collect();
    let ids: Vec<_> = lanes.iter().map(|lane| scene.run(lane)).collect();
    let compiling = scene.queue.running[&ids[PLACES]].thread;
    assert_eq!(scene.queue.set_compiling(compiling, true), None);
    scene.push(&lanes[0]);
    scene.now += RELIEF;
    let paces: Vec<_> = std::iter::from_fn(|| scene.relieve(Role::Unknown)).collect();
    assert_eq!(paces, [0, 1, 2].map(|index| (ids[index], Pace::Low)));

    let slowed = scene.queue.set_compiling(compiling, false).unwrap();

    assert_eq!((slowed.thread, slowed.pace), (compiling, Pace::Spare));
}

#[test]
fn a_module_that_was_stopped_begins_in_spare_time_until_it_ends_by_itself() {
    let mut scene = Scene::new();
    let conduct = Arc::new(Conduct::default());
    let (first, second) = (scene.queue.lane(), scene.queue.lane());
    for lane in [&first, &second] {
        lane.runs(vec![Arc::clone(&conduct)]);
        scene.push(lane);
    }
    conduct.note(true);
    let (_, slowed) = scene.take(Role::Unknown).unwrap();
    assert_eq!(slowed.unwrap().pace, Pace::Spare);
    assert_eq!(scene.queue.relieved_count(), 1);

    conduct.note(false);

    let (_, slowed) = scene.take(Role::Unknown).unwrap();
    assert_eq!(slowed, None);
}

#[test]
fn a_lane_that_is_known_does_not_answer_for_others_with_its_module() {
    let mut scene = Scene::new();
    let conduct = Arc::new(Conduct::default());
    let honest = scene.lane_of(QUICK);
    honest.runs(vec![Arc::clone(&conduct)]);

    conduct.note(true);
    scene.push(&honest);

    let (_, slowed) = scene.take(Role::Known).unwrap();
    assert_eq!(slowed, None);
}

#[test]
fn of_a_module_that_runs_on_no_more_begin_than_a_few() {
    let few = PLACES * SAME_MODULE_PER_PLACE;
    let mut scene = Scene::new();
    let conduct = Arc::new(Conduct::default());
    let looping: Vec<_> = (0..=few).map(|_| scene.queue.lane()).collect();
    for lane in &looping {
        lane.runs(vec![Arc::clone(&conduct)]);
    }
    let ids: Vec<_> = looping[..few].iter().map(|lane| scene.run(lane)).collect();
    scene.push(&looping[few]);
    scene.now += RELIEF;
    while scene.relieve(Role::Unknown).is_some() {}
    assert_eq!(scene.queue.due_count(Role::Unknown), 0);
    assert!(scene.take(Role::Unknown).is_none());
    let other = scene.queue.lane();
    scene.push(&other);

    let (first, _) = scene.take(Role::Unknown).unwrap();
    assert!(Arc::ptr_eq(&scene.queue.running[&first].lane, &other));
    assert!(scene.take(Role::Unknown).is_none());
    scene.end(ids[0], SLOW);

    assert_eq!(scene.queue.due_count(Role::Unknown), 1);
    let (next, _) = scene.take(Role::Unknown).unwrap();
    assert!(Arc::ptr_eq(&scene.queue.running[&next].lane, &looping[few]));
}

#[test]
fn so_many_wait_for_a_module_that_runs_on_and_one_more_is_told() {
    let few = PLACES * SAME_MODULE_PER_PLACE;
    let mut scene = Scene::new();
    let conduct = Arc::new(Conduct::default());
    let [looping, late] = [few, PLACES * HELD_BACK_PER_PLACE].map(|count| {
        let lanes: Vec<_> = (0..count).map(|_| scene.queue.lane()).collect();
        for lane in &lanes {
            lane.runs(vec![Arc::clone(&conduct)]);
        }
        lanes
    });
    let ids: Vec<_> = looping.iter().map(|lane| scene.run(lane)).collect();
    scene.push(&scene.queue.lane());
    scene.now += RELIEF;
    while scene.relieve(Role::Unknown).is_some() {}
    for lane in &late {
        scene.push(lane);
    }
    let one_more = scene.queue.lane();
    one_more.runs(vec![conduct]);

    let refused = scene.queue.push(Arc::clone(&one_more), Box::new(|| ()));

    assert_eq!(refused, Err(Busy::Module));
    scene.push(&scene.queue.lane());
    // Its turn may come as soon as anybody's.
    scene.end(ids[0], SLOW);
    scene.push(&one_more);
}

#[test]
fn a_loop_leaves_its_place_once_its_module_was_stopped_elsewhere() {
    let mut scene = Scene::new();
    let conduct = Arc::new(Conduct::default());
    let (looping, other) = (scene.queue.lane(), scene.queue.lane());
    looping.runs(vec![Arc::clone(&conduct)]);
    scene.run(&looping);
    scene.run(&other);
    let waiting = scene.queue.lane();
    scene.push(&waiting);
    scene.now += RELIEF;
    while scene.relieve(Role::Unknown).is_some() {}
    assert_eq!(scene.queue.demote_suspect(), None);

    conduct.note(true);

    let demoted = scene.queue.demote_suspect().unwrap();
    assert_eq!(demoted.pace, Pace::Spare);
    assert_eq!(scene.queue.demote_suspect(), None);
}
