-- The journeys that ship with the product: version 1, in force since ever. Those that are not what the product did so far
-- are enabled only where they tell customers what concerns them: points that expire, tiers, rewards.
INSERT INTO document_version (kind, id, version, document, created_at, published_at, effective_at)
SELECT 'journey', id, 1, document::json, since_ever, since_ever, since_ever
FROM (VALUES
('birthday', $j${
 "name": {
  "en": "Birthday",
  "ar": "عيد ميلاد"
 },
 "enabled": false,
 "trigger": {
  "on": "date",
  "field": "birth_date",
  "days": 0,
  "at": "09:00"
 },
 "when": [],
 "again": {
  "kind": "always"
 },
 "not_after_hours": 12,
 "steps": [
  {
   "kind": "send",
   "template": "birthday",
   "channels": ["email", "push", "in_app"],
   "mode": "first"
  }
 ]
}$j$),
('csat', $j${
 "name": {
  "en": "How satisfied are you",
  "ar": "ما مدى رضاك"
 },
 "enabled": false,
 "trigger": {
  "on": "event",
  "type": "shop.purchase.completed.v1",
  "where": [
   {
    "kind": "field",
    "path": "purchase_number",
    "op": "in",
    "value": [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 130, 140, 150, 160, 170, 180, 190, 200, 210, 220, 230, 240, 250, 260, 270, 280, 290, 300, 310, 320, 330, 340, 350, 360, 370, 380, 390, 400, 410, 420, 430, 440, 450, 460, 470, 480, 490, 500, 510, 520, 530, 540, 550, 560, 570, 580, 590, 600, 610, 620, 630, 640, 650, 660, 670, 680, 690, 700, 710, 720, 730, 740, 750, 760, 770, 780, 790, 800, 810, 820, 830, 840, 850, 860, 870, 880, 890, 900, 910, 920, 930, 940, 950, 960, 970, 980, 990, 1000]
   }
  ]
 },
 "when": [],
 "again": {
  "kind": "always"
 },
 "not_after_hours": null,
 "steps": [
  {
   "kind": "wait",
   "days": 1,
   "hours": null,
   "at": "10:00"
  },
  {
   "kind": "send",
   "template": "csat",
   "channels": ["email", "push"],
   "mode": "first"
  }
 ]
}$j$),
('nps', $j${
 "name": {
  "en": "Would you recommend us",
  "ar": "هل توصي بنا"
 },
 "enabled": false,
 "trigger": {
  "on": "date",
  "field": "first_purchase_at",
  "days": 30,
  "at": "10:00"
 },
 "when": [],
 "again": {
  "kind": "never"
 },
 "not_after_hours": null,
 "steps": [
  {
   "kind": "send",
   "template": "nps",
   "channels": ["email", "push"],
   "mode": "first"
  }
 ]
}$j$),
('order_delivered', $j${
 "name": {
  "en": "Order delivered",
  "ar": "تسليم الطلب"
 },
 "enabled": false,
 "trigger": {
  "on": "event",
  "type": "shop.purchase.delivered.v1",
  "where": []
 },
 "when": [],
 "again": {
  "kind": "always"
 },
 "not_after_hours": null,
 "steps": [
  {
   "kind": "send",
   "template": "order_delivered",
   "channels": ["in_app", "email"],
   "mode": "all"
  }
 ]
}$j$),
('points_earned', $j${
 "name": {
  "en": "Points earned",
  "ar": "نقاط مكتسبة"
 },
 "enabled": true,
 "trigger": {
  "on": "event",
  "type": "loyalty.points.earned.v1",
  "where": [
   {
    "kind": "field",
    "path": "reason.kind",
    "op": "ne",
    "value": "referral"
   }
  ]
 },
 "when": [],
 "again": {
  "kind": "always"
 },
 "not_after_hours": null,
 "steps": [
  {
   "kind": "send",
   "template": "points_earned",
   "channels": ["in_app", "email"],
   "mode": "all"
  }
 ]
}$j$),
('points_expiring_1', $j${
 "name": {
  "en": "Points expire tomorrow",
  "ar": "نقاط تنتهي غدًا"
 },
 "enabled": true,
 "trigger": {
  "on": "before",
  "what": "points_expiry",
  "days": 1
 },
 "when": [],
 "again": {
  "kind": "always"
 },
 "not_after_hours": null,
 "steps": [
  {
   "kind": "send",
   "template": "points_expiring",
   "channels": ["in_app", "email"],
   "mode": "all"
  }
 ]
}$j$),
('points_expiring_30', $j${
 "name": {
  "en": "Points expire in a month",
  "ar": "نقاط تنتهي خلال شهر"
 },
 "enabled": true,
 "trigger": {
  "on": "before",
  "what": "points_expiry",
  "days": 30
 },
 "when": [],
 "again": {
  "kind": "always"
 },
 "not_after_hours": null,
 "steps": [
  {
   "kind": "send",
   "template": "points_expiring",
   "channels": ["in_app", "email"],
   "mode": "all"
  }
 ]
}$j$),
('points_expiring_7', $j${
 "name": {
  "en": "Points expire in a week",
  "ar": "نقاط تنتهي خلال أسبوع"
 },
 "enabled": true,
 "trigger": {
  "on": "before",
  "what": "points_expiry",
  "days": 7
 },
 "when": [],
 "again": {
  "kind": "always"
 },
 "not_after_hours": null,
 "steps": [
  {
   "kind": "send",
   "template": "points_expiring",
   "channels": ["in_app", "email"],
   "mode": "all"
  }
 ]
}$j$),
('points_taken_back', $j${
 "name": {
  "en": "Points taken back",
  "ar": "نقاط مستردة"
 },
 "enabled": true,
 "trigger": {
  "on": "event",
  "type": "loyalty.points.reversed.v1",
  "where": []
 },
 "when": [],
 "again": {
  "kind": "always"
 },
 "not_after_hours": null,
 "steps": [
  {
   "kind": "send",
   "template": "points_taken_back",
   "channels": ["in_app", "email"],
   "mode": "all"
  }
 ]
}$j$),
('referral_approved', $j${
 "name": {
  "en": "Referral approved",
  "ar": "دعوة مقبولة"
 },
 "enabled": true,
 "trigger": {
  "on": "event",
  "type": "loyalty.referral.approved.v1",
  "where": [
   {
    "kind": "field",
    "path": "points",
    "op": "gt",
    "value": 0
   }
  ]
 },
 "when": [],
 "again": {
  "kind": "always"
 },
 "not_after_hours": null,
 "steps": [
  {
   "kind": "send",
   "template": "referral_approved",
   "channels": ["in_app", "email"],
   "mode": "all"
  }
 ]
}$j$),
('review_request', $j${
 "name": {
  "en": "Request for a review",
  "ar": "طلب تقييم"
 },
 "enabled": false,
 "trigger": {
  "on": "event",
  "type": "shop.purchase.delivered.v1",
  "where": []
 },
 "when": [],
 "again": {
  "kind": "always"
 },
 "not_after_hours": null,
 "steps": [
  {
   "kind": "wait",
   "days": 7,
   "hours": null,
   "at": "10:00"
  },
  {
   "kind": "stop_if",
   "when": [
    {
     "kind": "happened",
     "type": "shop.review.published.v1",
     "within_days": null
    }
   ]
  },
  {
   "kind": "send",
   "template": "review_request",
   "channels": ["email", "push"],
   "mode": "first"
  }
 ]
}$j$),
('reward_redeemed', $j${
 "name": {
  "en": "Reward redeemed",
  "ar": "استبدال مكافأة"
 },
 "enabled": true,
 "trigger": {
  "on": "event",
  "type": "loyalty.points.redeemed.v1",
  "where": []
 },
 "when": [],
 "again": {
  "kind": "always"
 },
 "not_after_hours": null,
 "steps": [
  {
   "kind": "send",
   "template": "reward_redeemed",
   "channels": ["in_app", "email"],
   "mode": "all"
  }
 ]
}$j$),
('thank_you', $j${
 "name": {
  "en": "Thank-you after a purchase",
  "ar": "شكر بعد الشراء"
 },
 "enabled": false,
 "trigger": {
  "on": "event",
  "type": "shop.purchase.completed.v1",
  "where": []
 },
 "when": [],
 "again": {
  "kind": "always"
 },
 "not_after_hours": null,
 "steps": [
  {
   "kind": "send",
   "template": "thank_you",
   "channels": ["in_app", "email"],
   "mode": "all"
  }
 ]
}$j$),
('tier_at_risk', $j${
 "name": {
  "en": "Tier at risk",
  "ar": "فئة مهددة"
 },
 "enabled": true,
 "trigger": {
  "on": "event",
  "type": "loyalty.tier.at_risk.v1",
  "where": []
 },
 "when": [],
 "again": {
  "kind": "always"
 },
 "not_after_hours": null,
 "steps": [
  {
   "kind": "send",
   "template": "tier_at_risk",
   "channels": ["in_app", "email"],
   "mode": "all"
  }
 ]
}$j$),
('tier_lost', $j${
 "name": {
  "en": "Tier lost",
  "ar": "فقدان فئة"
 },
 "enabled": true,
 "trigger": {
  "on": "event",
  "type": "loyalty.tier.demoted.v1",
  "where": []
 },
 "when": [],
 "again": {
  "kind": "always"
 },
 "not_after_hours": null,
 "steps": [
  {
   "kind": "send",
   "template": "tier_lost",
   "channels": ["in_app", "email"],
   "mode": "all"
  }
 ]
}$j$),
('tier_reached', $j${
 "name": {
  "en": "Tier reached",
  "ar": "بلوغ فئة"
 },
 "enabled": true,
 "trigger": {
  "on": "event",
  "type": "loyalty.tier.promoted.v1",
  "where": []
 },
 "when": [],
 "again": {
  "kind": "always"
 },
 "not_after_hours": null,
 "steps": [
  {
   "kind": "send",
   "template": "tier_reached",
   "channels": ["in_app", "email"],
   "mode": "all"
  }
 ]
}$j$),
('welcome', $j${
 "name": {
  "en": "Welcome",
  "ar": "ترحيب"
 },
 "enabled": true,
 "trigger": {
  "on": "event",
  "type": "shop.customer.registered.v1",
  "where": []
 },
 "when": [],
 "again": {
  "kind": "always"
 },
 "not_after_hours": null,
 "steps": [
  {
   "kind": "send",
   "template": "welcome",
   "channels": ["in_app", "email"],
   "mode": "all"
  }
 ]
}$j$),
('win_back', $j${
 "name": {
  "en": "Win back",
  "ar": "استعادة"
 },
 "enabled": false,
 "trigger": {
  "on": "inactivity",
  "of": "shop.purchase.completed.v1",
  "days": 60
 },
 "when": [],
 "again": {
  "kind": "after_days",
  "days": 90
 },
 "not_after_hours": 48,
 "steps": [
  {
   "kind": "send",
   "template": "win_back",
   "channels": ["push", "email"],
   "mode": "first"
  }
 ]
}$j$)
) AS shipped (id, document), CAST('0001-01-01 00:00:00+00' AS timestamptz) AS since_ever;
