"""Models that wait until a test lets them continue."""

GATED = '''
import pathlib, time
import torch

class Gated(torch.nn.Module):
    """Softmax regression that waits before epochs 2 and 4 until a file lets it through."""

    def __init__(self, input_shape, classes, gates):
        super().__init__()
        self.linear = torch.nn.Linear(64, classes)
        self.gates, self.batches = pathlib.Path(gates), 0

    def forward(self, images):
        if self.training and len(images) > 2:  # not when it is tried
            epoch, batch = divmod(self.batches, 21)
            while batch == 0 and epoch in (1, 3) and not (self.gates / str(epoch)).exists():
                time.sleep(0.05)
            self.batches += 1
        return self.linear(images.flatten(1))
'''
