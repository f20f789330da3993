use leadline_learning::{Trained, TrainingOptions, silent, train};

use crate::gates::small;
use crate::synthetic::{Leads, definition};

fn trained_on(threads: usize, leads: &Leads, options: &TrainingOptions) -> Trained {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let frame = leads.frame();
    pool.install(|| train(&frame, &definition(), options, None, &silent).unwrap())
}

#[test]
fn the_same_records_give_the_same_bytes_on_any_number_of_threads_and_in_any_order() {
    let leads = Leads::generate(1_200, 31);
    let first = trained_on(1, &leads, &small());
    let mut shuffled = Leads::generate(1_200, 31);
    shuffled.rows.reverse();
    shuffled.rows.rotate_left(377);
    for (threads, leads) in [(2, &leads), (5, &leads), (3, &shuffled)] {
        let again = trained_on(threads, leads, &small());
        assert_eq!(again.artifact.digest(), first.artifact.digest(), "{threads} threads");
        assert_eq!(again.card, first.card, "{threads} threads");
    }
    let other_seed = trained_on(2, &leads, &TrainingOptions { seed: 43, ..small() });
    assert_ne!(other_seed.artifact.digest(), first.artifact.digest());
}
