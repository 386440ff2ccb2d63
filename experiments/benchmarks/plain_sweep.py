"""What people write by hand: a Hydra script around the tutorials' loop, logging to MLflow.

A contestant of `experiments/benchmark.py sweep`; Hydra's own launcher runs its jobs.
"""

import hydra
import mlflow
import torch
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import FashionMNIST
from torchvision.transforms import ToTensor

OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop}

ConfigStore.instance().store(
    "plain",
    {"optimizer": "sgd", "lr": 1e-3, "epochs": 3, "batch_size": 64, "data_dir": "", "uri": ""},
)


@hydra.main(version_base="1.3", config_path=None, config_name="plain")
def main(config: DictConfig) -> None:
    """One run: train, evaluate after each epoch, log the loss of every hundredth batch."""
    mlflow.set_tracking_uri(config.uri)
    mlflow.set_experiment("plain")
    loaders = [
        DataLoader(
            FashionMNIST(config.data_dir, train=train, transform=ToTensor()),
            batch_size=config.batch_size,
            shuffle=train,
        )
        for train in (True, False)
    ]
    layers = nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    model = nn.Sequential(nn.Flatten(), *layers)
    optimizer = OPTIMIZERS[config.optimizer](model.parameters(), lr=config.lr)
    with mlflow.start_run():
        mlflow.log_params({key: config[key] for key in ("optimizer", "lr", "epochs", "batch_size")})
        for epoch in range(config.epochs):
            train_epoch(model, loaders[0], optimizer, epoch)
            evaluate(model, loaders[1], epoch)


def train_epoch(
    model: nn.Module, loader: "DataLoader[object]", optimizer: torch.optim.Optimizer, epoch: int
) -> None:
    """Forward, backward, step; a metric every 100 batches."""
    model.train()
    for number, (images, labels) in enumerate(loader):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if number % 100 == 0:
            mlflow.log_metric("train/loss", loss.item(), step=epoch * len(loader) + number)


@torch.no_grad()
def evaluate(model: nn.Module, loader: "DataLoader[object]", epoch: int) -> None:
    """Loss and accuracy over the test pictures, as two metrics."""
    model.eval()
    loss, correct, count = 0.0, 0, 0
    for images, labels in loader:
        outputs = model(images)
        loss += nn.functional.cross_entropy(outputs, labels).item()
        correct += int((outputs.argmax(1) == labels).sum())
        count += len(labels)
    mlflow.log_metric("test/loss", loss / len(loader), step=epoch)
    mlflow.log_metric("test/accuracy", correct / count, step=epoch)


if __name__ == "__main__":
    main()
