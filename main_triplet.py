"""Train a face embedding with online triplet mining, select the best checkpoint, test it.

    python main_triplet.py                       the demo: built-in faces, 6 minutes on 2 slow CPU cores
    python main_triplet.py --help                every setting
    python main_triplet.py --preset model2       a named preset of configs/presets
    python main_triplet.py --data-root FOLDER    your own faces, prepared by python -m data.prepare
    python main_triplet.py --resume never        a new run, even if one with the same settings is unfinished
    torchrun --nproc-per-node 4 main_triplet.py  four processes, one per GPU

Everything a run writes is in results/<run>/.
"""

from configs import TripletSettings, parse_settings
from data.datasets import train_loader_for
from data.faces import faces_for
from data.samplers import PKBatchSampler
from eval.after_epoch import EpochReport
from eval.evaluators import evaluators_for
from eval.final_test import test_best
from eval.least_face import store_least_face
from losses import TripletLoss
from models import model_for, start_of, weights_preprocessing
from runtime.devices import pick_device
from runtime.errors import one_line_errors
from runtime.precision import make_precision
from runtime.processes.distributed import joined, sum_parameter_gradients
from runtime.run_folder import open_run
from runtime.seeds import seed_everything
from runtime.training.optim import optimiser_for, scheduler_for
from runtime.training.state import TrainingState, resume
from teacher.targets import beside_teacher
from train import fit

SETTINGS = TripletSettings(
    # ---- data ----
    data_root="builtin",  # "builtin", or the folder that the CSVs' paths start from
    train_csv="train.csv",  # path,target; or a .pack of it
    train_faces="all",  # all | plain | masked
    eval_csvs=("eval_same.csv", "eval_diff.csv"),  # path,target,pair_path,pair_target
    test_csv="test.csv",  # the same columns; nothing is selected on them
    eval_root="",  # folder of the eval and test faces, if another; empty: data_root
    path_prefix="",  # OLD=NEW for CSVs with absolute paths
    crop="arcface5",  # arcface5 | mtcnn_box
    image_size=80,  # pixels; use 112 or 128 for photos
    normalisation="auto",  # auto | imagenet | symmetric
    most_images=0,  # per identity, 0: all
    mask_probability=0.0,  # share of plain training faces that get a new mask
    mask_kinds=("surgical_green", "surgical_blue", "n95", "kn95", "cloth"),  # or a cut and a colour: cloth:#b03050
    mask_fit="varied",  # varied | fixed | flat
    jitter=False,  # small shifts, rotations and changes of light, against overfitting
    alignment_errors=False,  # move a newly masked face as data.prepare saw masks move the alignment
    max_unreadable=0.01,  # share of an epoch's images
    mirror=True,  # evaluate on each face and its mirror, summed
    measure_least_face=True,  # at the end: the smallest face that the network can use
    cache="none",  # none | memory: decoded faces
    builtin_people=170,  # identities to train on
    builtin_images=9,  # plain images per person, each with a masked copy
    # ---- network ----
    backbone="inception_resnet_v1",  # … | seresnext101 | efficientnet_b0 … b7 | mobilefacenet | timm:NAME
    pretrained="none",  # none | vggface2 | casia-webface | imagenet | a file | hf:OWNER/NAME
    embedding_size=512,  # dimension
    pooling="average",  # backbone | average | gem
    dropout=0.0,  # share
    norm_momentum=0.1,  # share of a batch in BatchNorm's running statistics
    freeze=(),  # stages that stay as pre-trained: layer1, …, backbone, neck
    # ---- objective ----
    people_per_batch=16,  # P
    images_per_person=4,  # K
    epoch_mode="random",  # all | random
    mining="semi_hard",  # batch_hard | batch_hard_soft | semi_hard | batch_all | distance_weighted | self_restrained
    margin=0.3,  # L2 distance, of at most 2
    squared=False,  # squared distances
    allow_saturating_margin=False,  # only to reproduce the original's collapse
    # ---- teacher ----
    teacher="",  # a trained run or ONNX file whose embeddings are the targets; empty: none
    teacher_share=0.5,  # of the loss; 1: the teacher alone
    teacher_mean_share=0.5,  # of the person's mean in the target, the rest is the face's own embedding
    unnamed_share=0.25,  # of a batch: faces without a target, for the teacher alone
    # ---- optimiser ----
    epochs=3,  # passes over the training faces
    optimiser="adamw",  # sgd | adam | adamw | rmsprop | adadelta
    lr=1e-3,  # peak
    backbone_lr=1.0,  # factor of lr
    momentum=0.9,  # sgd: Nesterov; adam, adamw: beta1
    weight_decay=0.01,  # decoupled for adamw
    decay_norms=False,  # weight decay of norms and biases, too
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
    cuda_graphs=False,  # with compile: kernels are recorded and launched all at once
    activation_checkpointing=False,  # less memory, slower
    workers=-1,  # -1: by the number of cores
    data_timeout_minutes=0.0,  # minutes without data until a run ends, 0: it waits
    seed=0,
    deterministic=True,  # same run, same bits
    # ---- run ----
    results_dir="results",
    run_name="",  # empty: objective, backbone, date and time
    checkpoint_minutes=10.0,  # minutes
    keep_checkpoints=2,  # beside best.pt
    on_collapse="stop",  # stop | warn | recover
    collapse_check_steps=50,  # steps
    tensorboard=False,
    profile=0,  # steps to profile, 0: none
)


def main() -> None:
    settings = parse_settings(SETTINGS, __doc__)
    device = pick_device(settings.device, settings.gpus)
    seed_everything(settings.seed, settings.deterministic)

    # ==== faces and network ====
    faces = faces_for(settings, weights_preprocessing(settings.backbone, settings.pretrained))
    model = model_for(settings, device)

    # ==== objective: which faces make a batch, and the loss of their embeddings ====
    sampler = PKBatchSampler(
        faces.train.named_targets,
        settings.people_per_batch,
        settings.images_per_person,
        settings.seed,
        settings.epoch_mode,
        faces.train.names,
    )
    criterion = TripletLoss(
        settings.mining,
        settings.margin,
        squared=settings.squared,
        allow_saturating_margin=settings.allow_saturating_margin,
    )

    # ==== everything that training changes ====
    loader = train_loader_for(settings, faces, sampler, device)
    criterion = sum_parameter_gradients(beside_teacher(criterion, faces, settings).to(device))
    optimiser = optimiser_for(settings, [model, criterion])
    scheduler = scheduler_for(settings, optimiser, steps_per_epoch=len(loader))
    precision = make_precision(settings.precision, device, settings.backbone)
    state = TrainingState(
        model, criterion, optimiser, scheduler, precision, settings, faces.preprocessing, faces.train.names
    )

    # ==== train: the checkpoint with the lowest IOU on the evaluation pairs is kept ====
    run = open_run(settings)
    resume(state, run)
    evaluators = evaluators_for(settings, faces, device)
    report = EpochReport(run, evaluators["evaluation"], tensorboard=settings.tensorboard)
    run.mark_start(settings, start_of(settings.backbone, settings.pretrained), state.precision.name)
    stopped = fit(state, loader, report, run)

    # ==== test: the best checkpoint, at the threshold chosen on the evaluation pairs ====
    if settings.measure_least_face:
        store_least_face(run, model, evaluators["evaluation"], settings.crop)
    test_best(run, model, evaluators, stopped)
    run.mark_ended(stopped)
    if stopped:
        raise SystemExit(f"training stopped early: {stopped}")


if __name__ == "__main__":
    with one_line_errors(), joined():
        main()
