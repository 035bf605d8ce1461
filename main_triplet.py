"""Train a face embedding with online triplet mining, select the best checkpoint, test it.

    python main_triplet.py                       the demo: built-in faces, 2 CPU cores, 6 minutes on slow ones
    python main_triplet.py --help                every setting
    python main_triplet.py --preset model2       a named preset of configs/presets
    python main_triplet.py --data_root FOLDER    your own faces, prepared by python -m data.prepare
    python main_triplet.py --resume never        a new run, though one of the same settings is unfinished
    torchrun --nproc-per-node 4 main_triplet.py  four processes, one a GPU

Everything a run makes lies in results/<run>/.
"""

from pathlib import Path

from configs import TripletSettings, parse_settings
from configs.settings import BUILT_IN
from data.datasets import ImageLoader, TrainFaces, train_loader
from data.faces import built_in_faces, open_faces
from data.loading.cache import FaceCache
from data.samplers import PKBatchSampler, RankBatchSampler
from data.transforms import make_preprocessing
from eval.after_epoch import EpochReport, draw_curves
from eval.evaluators import PairEvaluator
from eval.final_test import test_best
from losses import TripletLoss
from models import build_model, weights_preprocessing
from runtime.devices import loader_workers, pick_device, to_device, unwrap
from runtime.errors import one_line_errors
from runtime.precision import make_precision
from runtime.processes.distributed import first_goes_ahead, joined, rank, ranks, sum_parameter_gradients
from runtime.run_folder import open_run
from runtime.seeds import seed_everything
from runtime.training.optim import make_optimiser, make_scheduler
from runtime.training.options import EngineOptions
from runtime.training.state import TrainingState, resume
from teacher.targets import beside_teacher
from train import fit

SETTINGS = TripletSettings(
    # ---- data ----
    data_root="builtin",  # "builtin", or the folder that the CSVs' paths start from
    train_csv="train.csv",  # path,target; or a .pack of it
    train_faces="all",  # all | plain | masked
    eval_csvs=("eval_same.csv", "eval_diff.csv"),  # path,target,pair_path,pair_target
    test_csv="test.csv",  # the same columns; only ever reported on
    eval_root="",  # folder of the eval and test faces where it is another; empty: data_root
    path_prefix="",  # OLD=NEW for CSVs with absolute paths
    crop="arcface5",  # arcface5 | mtcnn_box
    image_size=80,  # pixels; photographs show more at 112 or 128
    normalisation="auto",  # auto | imagenet | symmetric
    most_images=0,  # of an identity, 0: all
    mask_probability=0.0,  # share of plain training faces that get a fresh mask
    mask_kinds=("surgical_green", "surgical_blue", "n95", "kn95", "cloth"),  # or a cut and a colour: cloth:#b03050
    mask_fit="varied",  # varied | fixed | flat
    jitter=False,  # move, turn and light training faces a little
    max_unreadable=0.01,  # share of an epoch's images
    mirror=True,  # evaluate on each face and its mirror, summed
    cache="none",  # none | memory: decoded faces
    builtin_people=170,  # identities to train on
    builtin_images=9,  # plain images a person, each with a masked copy
    # ---- network ----
    backbone="inception_resnet_v1",  # … | seresnext101 | efficientnet_b0 … b7 | mobilefacenet | timm:NAME
    pretrained="none",  # none | vggface2 | casia-webface | imagenet | a file
    embedding_size=512,  # values
    pooling="average",  # backbone | average | gem
    dropout=0.0,  # share
    norm_momentum=0.1,  # share of a batch in BatchNorm's running statistics
    # ---- objective ----
    people_per_batch=16,  # P
    images_per_person=4,  # K
    epoch_mode="random",  # all | random
    mining="semi_hard",  # batch_hard | batch_hard_soft | semi_hard | batch_all | distance_weighted
    margin=0.3,  # L2 distance, of at most 2
    squared=False,  # squared distances
    allow_saturating_margin=False,  # only to reproduce the original's collapse
    # ---- teacher ----
    teacher="",  # a trained run that shows where masked faces are to lie; empty: none
    teacher_share=0.5,  # of the loss; 1: the teacher alone
    teacher_mean_share=0.5,  # of the person's mean in where a face is to lie, the rest is its own embedding
    # ---- optimiser ----
    epochs=3,  # passes over the training faces
    optimiser="adamw",  # sgd | adam | adamw | rmsprop | adadelta
    lr=1e-3,  # peak
    momentum=0.9,  # sgd: Nesterov's; adam, adamw: beta1
    weight_decay=0.01,  # decoupled for adamw
    decay_norms=False,  # decay norms and biases too
    schedule="cosine",  # multistep | cosine | cyclic | step | constant
    milestones=(),  # epochs, multistep
    lr_decay=0.1,  # factor, multistep and step
    warmup_epochs=0.2,  # epochs
    clip_grad_norm=0.0,  # 0: none
    accumulate_steps=1,  # parts that a batch is computed in
    ema_decay=0.0,  # 0: no average of the weights
    # ---- machine ----
    device="auto",  # auto | cpu | cuda
    gpus=(),  # numbers; empty: all visible
    precision="auto",  # auto | float32 | bf16 | fp16
    compile=False,  # torch.compile
    activation_checkpointing=False,  # less memory, slower
    workers=-1,  # -1: by the cores
    seed=0,
    deterministic=True,  # same run, same bits
    # ---- run ----
    results_dir="results",
    run_name="",  # empty: date and time
    checkpoint_minutes=10.0,  # minutes
    keep_checkpoints=2,  # beside best.pt
    on_collapse="stop",  # stop | warn | recover
    collapse_check_steps=50,  # steps
    tensorboard=False,
)


def main() -> None:
    settings = parse_settings(SETTINGS, __doc__)

    # ==== device and seed ====
    device = pick_device(settings.device, settings.gpus)
    precision = make_precision(settings.precision, device)
    workers = loader_workers(settings.workers, device, settings.gpus)
    seed_everything(settings.seed, settings.deterministic)

    # ==== faces ====
    preprocessing = make_preprocessing(
        size=settings.image_size,
        crop=settings.crop,
        normalisation=settings.normalisation,
        weights=weights_preprocessing(settings.backbone, settings.pretrained),
    )
    root = Path(settings.data_root)
    if settings.data_root == BUILT_IN:
        with first_goes_ahead():
            root = built_in_faces(settings.builtin_people, settings.builtin_images, settings.image_size)
    faces = open_faces(
        root,
        eval_root=Path(settings.eval_root) if settings.eval_root else root,
        train_csv=settings.train_csv,
        train_faces=settings.train_faces,
        most_images=settings.most_images,
        eval_csvs=settings.eval_csvs,
        test_csv=settings.test_csv,
        path_prefix=settings.path_prefix,
        preprocessing=preprocessing,
    )
    sampler = PKBatchSampler(
        faces.train.targets,
        settings.people_per_batch,
        settings.images_per_person,
        settings.seed,
        settings.epoch_mode,
    )
    sampler = RankBatchSampler(sampler, rank(), ranks(), settings.accumulate_steps)
    train_faces = TrainFaces(
        faces.train_images,
        faces.train.labelled_by_row() if settings.teacher else faces.train,
        preprocessing.size,
        disk_size=faces.disk_size,
        mask_probability=settings.mask_probability,
        mask_kinds=settings.mask_kinds,
        mask_fit=settings.mask_fit,
        jitter=settings.jitter,
        seed=settings.seed,
        cache=FaceCache(faces.train_images.count, preprocessing.size) if settings.cache == "memory" else None,
    )
    loader = train_loader(train_faces, sampler, workers=workers, pin_memory=device.type == "cuda")
    evaluators = {
        name: PairEvaluator(
            ImageLoader(images, preprocessing.size, batch_size=128, workers=workers),
            pairs,
            device=device,
            normalise=preprocessing.normalise,
            mirror=settings.mirror,
        )
        for name, pairs, images in (
            ("evaluation", faces.evaluation, faces.evaluation_images),
            ("test", faces.test, faces.test_images),
        )
    }

    # ==== network and objective ====
    model = build_model(
        settings.backbone,
        embedding_size=settings.embedding_size,
        pooling=settings.pooling,
        dropout=settings.dropout,
        norm_momentum=settings.norm_momentum,
        pretrained=settings.pretrained,
        image_size=settings.image_size,
    )
    criterion = TripletLoss(
        settings.mining,
        settings.margin,
        squared=settings.squared,
        allow_saturating_margin=settings.allow_saturating_margin,
    )
    criterion = beside_teacher(criterion, faces, settings)
    criterion = sum_parameter_gradients(criterion.to(device))
    model = to_device(
        model, device, settings.gpus, compiled=settings.compile, recompute=settings.activation_checkpointing
    )

    # ==== optimiser ====
    optimiser = make_optimiser(
        settings.optimiser,
        [model, criterion],
        lr=settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        decay_norms=settings.decay_norms,
    )
    scheduler = make_scheduler(
        optimiser,
        settings.schedule,
        steps_per_epoch=len(sampler),
        epochs=settings.epochs,
        warmup_epochs=settings.warmup_epochs,
        milestones=settings.milestones,
        decay=settings.lr_decay,
    )

    # ==== train: the checkpoint with the lowest IOU on the evaluation pairs is kept ====
    state = TrainingState(model, criterion, optimiser, scheduler, precision, settings.ema_decay)
    carry = {
        "settings": settings.to_dict(),
        "preprocessing": preprocessing.to_dict(),
        "identities": faces.train.names,
    }
    run = open_run(settings.to_dict())
    resume(state, run, carry)
    stopped = fit(
        state,
        loader,
        EpochReport(run.path, evaluators["evaluation"], tensorboard=settings.tensorboard),
        options=EngineOptions.of(settings),
        normalise=preprocessing.normalise,
        run=run,
        carry=carry,
        names=faces.train.paths,
        after_epoch=lambda history: draw_curves(run.path, history, state.best["epoch"]),
    )

    # ==== test: the best checkpoint, at the threshold chosen on the evaluation pairs ====
    test_best(run, unwrap(model), evaluators, stopped)
    run.mark_ended(stopped)
    if stopped:
        raise SystemExit(f"training stopped early: {stopped}")


if __name__ == "__main__":
    with one_line_errors(), joined():
        main()
