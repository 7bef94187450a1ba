"""Train like the published notebook, in plain code.

`train.py notebook` is compared with it. Networks, losses, optimizers and batch are the same,
written as in the notebook: PNG files are opened one by one, and prompts are embedded one at a time,
in float32.
"""

import os

import torch
from PIL import Image
from torch import nn, optim
from torch.utils.data import DataLoader, Dataset


class TextToVideoDataset(Dataset):
    """Single frames and their video's prompt."""

    def __init__(self, root_dir, transform):
        self.transform = transform
        self.frame_paths, self.prompts = [], []
        for name in os.listdir(root_dir):
            video_dir = os.path.join(root_dir, name)
            frames = [
                os.path.join(video_dir, f) for f in os.listdir(video_dir) if f.endswith(".png")
            ]
            with open(os.path.join(video_dir, "prompt.txt")) as f:
                prompt = f.read().strip()
            self.frame_paths.extend(frames)
            self.prompts.extend([prompt] * len(frames))

    def __len__(self):
        return len(self.frame_paths)

    def __getitem__(self, index):
        return self.transform(Image.open(self.frame_paths[index])), self.prompts[index]


class Generator(nn.Module):
    """Map noise and a text embedding to a frame."""

    def __init__(self, text_embed_size):
        super().__init__()
        self.fc1 = nn.Linear(100 + text_embed_size, 256 * 8 * 8)
        self.deconv1 = nn.ConvTranspose2d(256, 128, 4, 2, 1)
        self.deconv2 = nn.ConvTranspose2d(128, 64, 4, 2, 1)
        self.deconv3 = nn.ConvTranspose2d(64, 3, 4, 2, 1)
        self.relu = nn.ReLU(True)
        self.tanh = nn.Tanh()

    def forward(self, noise, text_embed):
        x = torch.cat((noise, text_embed), dim=1)
        x = self.fc1(x).view(-1, 256, 8, 8)
        x = self.relu(self.deconv1(x))
        x = self.relu(self.deconv2(x))
        return self.tanh(self.deconv3(x))


class Discriminator(nn.Module):
    """Map a frame to a probability."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 4, 2, 1)
        self.conv2 = nn.Conv2d(64, 128, 4, 2, 1)
        self.conv3 = nn.Conv2d(128, 256, 4, 2, 1)
        self.fc1 = nn.Linear(256 * 8 * 8, 1)
        self.leaky_relu = nn.LeakyReLU(0.2, inplace=True)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x):
        x = self.leaky_relu(self.conv1(x))
        x = self.leaky_relu(self.conv2(x))
        x = self.leaky_relu(self.conv3(x))
        return self.sigmoid(self.fc1(x.view(-1, 256 * 8 * 8)))


class PlainLoop:
    """Train on a folder of frames with the notebook's loop."""

    def __init__(self, root_dir, device):
        from torchvision import transforms

        transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]
        )
        self.device = device
        dataset = TextToVideoDataset(root_dir, transform)
        self.dataloader = DataLoader(dataset, batch_size=16, shuffle=True, drop_last=True)
        words = sorted(set(" ".join(dataset.prompts).split()))
        self.vocab = {token: index for index, token in enumerate(words)}
        self.text_embedding = nn.Embedding(len(words), 10).to(device)
        self.generator = Generator(10).to(device)
        self.discriminator = Discriminator().to(device)
        self.criterion = nn.BCELoss()
        betas = (0.5, 0.999)
        self.optimizer_d = optim.Adam(self.discriminator.parameters(), lr=2e-4, betas=betas)
        self.optimizer_g = optim.Adam(self.generator.parameters(), lr=2e-4, betas=betas)
        self.batches = iter(self.dataloader)

    def encode_text(self, prompt):
        return torch.tensor([self.vocab[token] for token in prompt.split()])

    def run(self, num_steps):
        """Train `num_steps` steps of 16 frames."""
        for _ in range(num_steps):
            try:
                data, prompts = next(self.batches)
            except StopIteration:
                self.batches = iter(self.dataloader)
                data, prompts = next(self.batches)
            self.step(data.to(self.device), prompts)

    def step(self, real_data, prompts):
        size, device = len(real_data), self.device
        self.discriminator.zero_grad()
        output = self.discriminator(real_data)
        loss_real = self.criterion(output, torch.ones(size, 1).to(device))
        loss_real.backward()
        noise = torch.randn(size, 100).to(device)
        text_embeds = torch.stack(
            [self.text_embedding(self.encode_text(p).to(device)).mean(dim=0) for p in prompts]
        )
        fake_data = self.generator(noise, text_embeds)
        output = self.discriminator(fake_data.detach())
        loss_fake = self.criterion(output, torch.zeros(size, 1).to(device))
        loss_fake.backward()
        self.optimizer_d.step()
        self.generator.zero_grad()
        output = self.discriminator(fake_data)
        loss_g = self.criterion(output, torch.ones(size, 1).to(device))
        loss_g.backward()
        self.optimizer_g.step()
